// The process between the server and a program that it runs (see executor.h). Private to jobs, but for server/main.cc.
#pragma once

namespace tidemill::jobs {

constexpr int kShimSocket = 3;  // where the shim finds the socket to the server
constexpr int kSampleMs = 25;   // how often memory and the number of processes are looked at
constexpr char kCancelByte = 'C';

// Reads a ProcessSpec from descriptor 3 (length, then JSON), runs it to its end, writes the ProcessResult there (JSON,
// then end of stream) and returns the exit code for main: 0 when a result was written. Call first thing in main, while
// the process has one thread and no open files.
int run_shim();

}  // namespace tidemill::jobs
