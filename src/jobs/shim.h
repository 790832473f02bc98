// The processes between the server and a program that it runs (see executor.h). Private to jobs, but for
// server/main.cc.
#pragma once

namespace tidemill::jobs {

constexpr int kShimSocket = 3;  // where both find the socket to the server
constexpr int kSampleMs = 25;   // how often memory and the number of processes are looked at
constexpr char kCancelByte = 'C';

// What `tidemill __exec` does: waits on descriptor 3 for sockets (see launcher.h) and forks a shim for each, until the
// server is gone. A shim reads a ProcessSpec from its socket (length, then JSON), writes its process id (a line), runs
// the program to its end and writes the ProcessResult (JSON, then end of stream). Returns the exit code for main. Call
// first thing in main, while the process has one thread and no open files.
int run_shim();

}  // namespace tidemill::jobs
