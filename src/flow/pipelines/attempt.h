// One attempt at one step: its folder, its process or built-in, its outputs. Private to the room.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "flow/pipelines/engine.h"

namespace tidemill::pipelines {

// All that an attempt needs; every reference is expanded.
struct Task {
  PipelineRunId run;
  std::string pipeline;
  std::string cause;
  std::string made_by;
  std::string token;  // for calling the server; "" = none
  std::string step;
  std::int64_t attempt = 1;
  std::vector<std::string> argv;  // of a process
  std::string uses;               // or the built-in
  std::map<std::string, std::string> env;
  json::Object params;                   // of the run
  json::Object with;                     // of the step
  std::map<std::string, Output> inputs;  // by name
  std::vector<std::string> outputs;
  std::shared_ptr<const CodeFiles> code;
  std::int64_t timeout_ms = 0;
  std::int64_t memory_mib = 0;
};

struct Outcome {
  bool succeeded = false;
  std::string message;  // why not, or what is worth knowing
  json::Object result;
  std::vector<Output> outputs;
};

class Attempt {
 public:
  Attempt(Engine& engine, Task task) : engine_(engine), task_(std::move(task)) {}

  // Does the work and returns how it went; the outputs are durable then and the work folder is gone. Call once, from
  // one thread.
  [[nodiscard]] Outcome run();

  // Asks it to end: SIGTERM, then SIGKILL. Any thread.
  void cancel();
  // Ends its processes at once. Any thread.
  void kill();

 private:
  [[nodiscard]] Result<Outcome> work();
  [[nodiscard]] Result<void> make_folders();
  [[nodiscard]] Result<void> bring_code();
  [[nodiscard]] Result<void> bring_inputs();
  [[nodiscard]] Result<void> run_process(json::Object& result);
  [[nodiscard]] Result<void> run_builtin(json::Object& result);
  [[nodiscard]] jobs::ProcessSpec process_spec() const;
  [[nodiscard]] Result<json::Object> read_result() const;
  [[nodiscard]] Result<std::vector<Output>> keep_outputs();
  [[nodiscard]] std::string last_line() const;
  void log(std::string_view line) const;

  Engine& engine_;
  const Task task_;
  std::filesystem::path folder_;
  std::filesystem::path log_file_;

  std::atomic<bool> cancelled_ = false;
  std::mutex mutex_;
  jobs::Process* process_ = nullptr;  // guarded by mutex_; while it runs
  bool killed_ = false;               // guarded by mutex_
};

}  // namespace tidemill::pipelines
