/** Something that gathers work during a turn of the event loop and does it at the end. */
export interface TurnTask {
  flush(): void;
}

let tasks: TurnTask[] = [];

/**
 * Runs `task.flush` when what arrived in this turn has been handled: one timer for all, so that bytes of many streams leave in
 * one write. Not nextTick, which runs between the chunks of one read.
 */
export function atTurnEnd(task: TurnTask): void {
  if (tasks.push(task) === 1) setImmediate(runTasks);
}

// What tasks add while they run is run as well, so that a stream's end is passed on in the same turn; a task that would add
// itself for ever waits for the next one.
const MAX_PASSES = 4;

// A connection's first request comes a turn or two after it. Each turn takes 20 to 50 µs, so that what else arrives meanwhile waits
// for a millisecond or two.
const MAX_HELD_TURNS = 32;
let isArriving = false;
/** Other at the end of each turn, and while its tasks run. */
let turn = 0;
let heldTurns = 0;

/**
 * A connection came, and others may be waiting: libuv accepts one a turn, so that each of their requests would leave in a write
 * of its own. What is gathered waits for one turn more.
 */
export function holdTurn(): void {
  isArriving = true;
}

const NOTHING: TurnTask = { flush() {} };

/**
 * A clock that is read once for all that asks it within a turn: a request is dated four times, and a turn has many of them. What
 * arrives in a turn has been there since before it.
 */
export function turnClock(read: () => number): () => number {
  let known = 0;
  let of = -1;
  return () => {
    if (of === turn) return known;
    known = read();
    of = turn;
    atTurnEnd(NOTHING);
    return known;
  };
}

function runTasks(): void {
  turn += 1;
  runDue();
  turn += 1;
}

function runDue(): void {
  heldTurns = isArriving && heldTurns < MAX_HELD_TURNS ? heldTurns + 1 : 0;
  isArriving = false;
  if (heldTurns > 0) return void setImmediate(runTasks);
  for (let pass = 0; pass < MAX_PASSES && tasks.length > 0; pass++) {
    const due = tasks;
    tasks = [];
    for (const task of due) task.flush();
  }
  if (tasks.length > 0) setImmediate(runTasks);
}
