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

function runTasks(): void {
  for (let pass = 0; pass < MAX_PASSES && tasks.length > 0; pass++) {
    const due = tasks;
    tasks = [];
    for (const task of due) task.flush();
  }
  if (tasks.length > 0) setImmediate(runTasks);
}
