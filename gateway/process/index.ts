/** The shell that every process of ours shares: settings, time, supervisor channel, admin listener, shutdown. */
export {
  type AdminHandlers,
  type AdminServer,
  openAdminServer,
  type ProbeAnswer,
  type ProbeRequest,
} from "./admin-server.ts";
export { type Clock, type Random, systemClock, systemRandom, type Timer } from "./clock.ts";
export { type ParsedConfig, type ProcessConfig, parseProcessConfig } from "./config.ts";
export { exitCodeOf, listenProblem, renderFatal } from "./fatal.ts";
export { formatHostPort, type HostPort, parseHostPort } from "./host-port.ts";
export { type Ipc, type IpcMessage, type IpcPort, openIpc } from "./ipc.ts";
export { createShutdown, LAME_DUCK_MS, onSignals, type Shutdown, type ShutdownEffects } from "./shutdown.ts";
