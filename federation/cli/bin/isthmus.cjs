#!/usr/bin/env node
"use strict";
// In old syntax on purpose: whatever Node.js the machine has must get far enough to find the right one, or to say so.
var fs = require("fs");
var os = require("os");
var path = require("path");

var MINIMUM_MAJOR = 24;
var EXIT_PREREQUISITE = 69;
var ROOT = path.resolve(__dirname, "..", "..", "..");
var MAIN = path.join(ROOT, "federation", "cli", "main.ts");

function major(version) {
  return parseInt(version.replace(/^v/, ""), 10);
}

function usableDirectory(directory) {
  try {
    fs.mkdirSync(directory, { recursive: true, mode: 448 /* 0700 */ });
    fs.accessSync(directory, fs.constants.W_OK);
    // A cache holds code: one that someone else made, or may write to, is not taken.
    var stat = fs.statSync(directory);
    return typeof process.getuid !== "function" || (stat.uid === process.getuid() && (stat.mode & 18) === 0);
  } catch (_) {
    return false;
  }
}

/** Caching stripped sources spares every process the type stripper: 20 MB of memory and a third of its start. */
function compileCache() {
  if (process.env.NODE_COMPILE_CACHE) return process.env.NODE_COMPILE_CACHE;
  var user = typeof process.getuid === "function" ? String(process.getuid()) : "user";
  var candidates = [
    path.join(ROOT, "node_modules", ".cache", "isthmus"),
    path.join(os.tmpdir(), "isthmus-cache-" + user),
  ];
  for (var i = 0; i < candidates.length; i += 1) {
    if (usableDirectory(candidates[i])) return candidates[i];
  }
  return undefined;
}

function bundledNode() {
  var platform = process.platform === "win32" ? "win" : process.platform;
  var name = "node-" + platform + "-" + process.arch;
  try {
    var home = path.dirname(require.resolve(name + "/package.json", { paths: [ROOT] }));
    var binary = path.join(home, "bin", process.platform === "win32" ? "node.exe" : "node");
    fs.accessSync(binary, fs.constants.X_OK);
    return binary;
  } catch (_) {
    return undefined;
  }
}

/** An import of node:http reads its every export, and these load undici: 28 ms and 12 MB that no command has use for. */
function dropLazyExports() {
  var http = require("http");
  ["WebSocket", "CloseEvent", "MessageEvent"].forEach(function (name) {
    delete http[name];
  });
}

function runHere(cache) {
  dropLazyExports();
  if (cache !== undefined) {
    process.env.NODE_COMPILE_CACHE = cache;
    require("module").enableCompileCache(cache);
  }
  import(require("url").pathToFileURL(MAIN).href).catch(function (error) {
    console.error(error);
    process.exitCode = 2;
  });
}

function runWith(binary, cache) {
  if (cache !== undefined) process.env.NODE_COMPILE_CACHE = cache;
  var args = [__filename].concat(process.argv.slice(2));
  if (typeof process.execve === "function") {
    process.execve(binary, [binary].concat(args), process.env);
  }
  // The channel carries nothing: its end tells the inner process that this one was killed without a chance to say so.
  var child = require("child_process").spawn(binary, args, {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
  });
  var signals = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR2"];
  signals.forEach(function (signal) {
    process.on(signal, function () {
      child.kill(signal);
    });
  });
  child.on("error", function (error) {
    console.error("error[ISTH-6007]: the bundled Node.js does not start: " + error.message);
    process.exit(EXIT_PREREQUISITE);
  });
  child.on("exit", function (code, signal) {
    if (signal === null) process.exit(code);
    signals.forEach(function (name) {
      process.removeAllListeners(name);
    });
    process.kill(process.pid, signal);
  });
}

if (major(process.version) >= MINIMUM_MAJOR) {
  runHere(compileCache());
} else {
  var bundled = bundledNode();
  if (bundled !== undefined) {
    runWith(bundled, compileCache());
  } else {
    console.error(
      "error[ISTH-6007]: Isthmus needs Node.js " +
        MINIMUM_MAJOR +
        " or newer, this is " +
        process.version +
        "; fix: npm ci installs the right one beside the project (macOS: install Node.js " +
        MINIMUM_MAJOR +
        ")",
    );
    process.exit(EXIT_PREREQUISITE);
  }
}
