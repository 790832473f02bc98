// The binary. `tidemill server` is the platform; check, backup and restore work on its folder; two hidden verbs are
// processes that it starts of itself; all else is the command line.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string_view>
#include <thread>

#include "base/log.h"
#include "cli/cli.h"
#include "jobs/executor.h"
#include "jobs/shim.h"
#include "runtimes/probe.h"
#include "server/config.h"
#include "server/maintenance.h"
#include "server/wiring.h"

namespace {

using tidemill::Error;

int report(const Error& error) {
  fmt::print(stderr, "tidemill: {}\n", error.message);
  if (!error.remedy.empty()) fmt::print(stderr, "          {}\n", error.remedy);
  return error.reason == "cli.usage" ? 2 : 1;
}

// Blocks the signals that end the server in every thread, so that only wait_for_signal sees them.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

// Each connection, stream and reader takes a file descriptor; the usual soft limit of 1024 is for programs that use
// select().
void raise_file_limit() {
  constexpr rlim_t kFilesMax = 65'536;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min(limit.rlim_max, kFilesMax));
  setrlimit(RLIMIT_NOFILE, &limit);
}

void wait_for_signal(const sigset_t& signals) {
  int number = 0;
  sigwait(&signals, &number);
}

int serve(int argc, char** argv) {
  bool help = false;
  const auto config = tidemill::server::parse_arguments(argc, argv, &help);
  if (!config) return report(config.error());
  if (help) return 0;
  tidemill::log::set_level(config->log_level);
  const sigset_t signals = block_signals();
  raise_file_limit();
  auto platform = tidemill::server::Platform::create(*config);
  if (!platform) return report(platform.error());
  (*platform)->start();
  fmt::print("tidemill: ready at {}\n", (*platform)->url());
  std::fflush(stdout);
  wait_for_signal(signals);
  // Whoever asks twice does not want to wait.
  std::thread([signals] {
    wait_for_signal(signals);
    _exit(1);
  }).detach();  // allowed: it waits until the process ends
  tidemill::log::info("server", "stopping");
  (*platform)->stop();
  platform->reset();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (verb == tidemill::jobs::kShimVerb) return tidemill::jobs::run_shim();
  if (verb == tidemill::runtimes::kProbeVerb) return tidemill::runtimes::probe_main(argc, argv);
  if (verb == "server") return serve(argc - 1, argv + 1);
  if (tidemill::server::is_maintenance(verb)) return tidemill::server::run_maintenance(argc - 1, argv + 1);
  return tidemill::cli::main(argc, argv);
}
