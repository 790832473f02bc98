// A real S3 server for tests (versitygw, built by tools/setup), and a proxy before it that makes trouble.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/files.h"
#include "storage/blobs/s3.h"

namespace tidemill::blobs {

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Returns a socket that listens on a free port of this machine alone.
inline FileDescriptor listen_on_free_port(std::uint16_t* port) {
  FileDescriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return {};
  if (listen(listener.get(), 64) != 0) return {};
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  *port = ntohs(address.sin_port);
  return listener;
}

inline FileDescriptor connect_to(std::uint16_t port) {
  FileDescriptor peer(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = loopback(port);
  if (connect(peer.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return peer;
}

// One server with one bucket for the whole program; ends with it.
class S3Server {
 public:
  static constexpr const char* kBucket = "mill";
  static constexpr const char* kKey = "tester";
  static constexpr const char* kSecret = "a/secret+of=tests";

  // Returns the running server; fails the test and returns one without a port when there is none to run.
  static S3Server& get() {
    static S3Server server;
    return server;
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::filesystem::path folder() const { return folder_.path() / "data" / kBucket; }
  [[nodiscard]] static Environment environment() {
    return [](const char* name) -> std::optional<std::string> {
      if (std::string(name) == "AWS_ACCESS_KEY_ID") return kKey;
      if (std::string(name) == "AWS_SECRET_ACCESS_KEY") return kSecret;
      return std::nullopt;
    };
  }
  [[nodiscard]] static S3Bucket bucket(const std::string& prefix, S3Settings settings, std::uint16_t port) {
    settings.endpoint = fmt::format("http://127.0.0.1:{}", port);
    return s3_bucket(fmt::format("s3://{}/{}", kBucket, prefix), settings, environment()).value();
  }

  S3Server(const S3Server&) = delete;
  S3Server& operator=(const S3Server&) = delete;

 private:
  S3Server() {
    std::filesystem::create_directories(folder());
    for (int tries = 0; tries < 3 && port_ == 0; ++tries) start();
    EXPECT_NE(port_, 0) << "the S3 server of the tests did not start; run tools/setup";
  }
  ~S3Server() { stop(); }

  static std::string program() {
    const char* named = std::getenv("TIDEMILL_S3_SERVER");
    return named != nullptr ? named : TIDEMILL_SOURCE_DIR "/build/tools/s3server/versitygw";
  }

  void start() {
    std::uint16_t free_port = 0;
    listen_on_free_port(&free_port);
    const std::string file = program();
    const std::string address = fmt::format("127.0.0.1:{}", free_port);
    const std::string data = folder_.path() / "data";
    const std::string log = folder_.path() / "log";
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
      dup2(out, 1);
      dup2(out, 2);
      execl(file.c_str(), file.c_str(), "--access", kKey, "--secret", kSecret, "--port", address.c_str(), "--quiet",
            "posix", data.c_str(), nullptr);
      _exit(127);
    }
    for (int i = 0; i < 200; ++i) {
      if (connect_to(free_port).open()) {
        port_ = free_port;
        return;
      }
      if (waitpid(process_, nullptr, WNOHANG) != 0) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    stop();
  }
  void stop() {
    if (process_ <= 0) return;
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
    process_ = 0;
  }

  const TemporaryFolder folder_ = TemporaryFolder::create().value();
  pid_t process_ = 0;
  std::uint16_t port_ = 0;
};

// Hands requests on to the server, one a connection, and does what was planned to those that it counts off.
class TroubleProxy {
 public:
  enum class Trouble { none, slow_down, internal_error, close_at_once, cut_body, refuse };

  explicit TroubleProxy(std::uint16_t target) : target_(target), listener_(listen_on_free_port(&port_)) {
    thread_ = std::thread([this] { loop(); });
  }
  TroubleProxy(const TroubleProxy&) = delete;
  TroubleProxy& operator=(const TroubleProxy&) = delete;
  ~TroubleProxy() {
    stopping_ = true;
    connect_to(port_);  // wakes accept()
    thread_.join();
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // The next requests whose first line contains `match` meet these, one each.
  void plan(const std::string& match, std::deque<Trouble> troubles) {
    const std::lock_guard lock(mutex_);
    match_ = match;
    troubles_ = std::move(troubles);
  }
  // Returns the first lines of all requests since the last call.
  [[nodiscard]] std::vector<std::string> seen() {
    const std::lock_guard lock(mutex_);
    return std::exchange(seen_, {});
  }

 private:
  void loop() {
    std::vector<std::thread> serving;
    while (true) {
      FileDescriptor client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (stopping_) break;
      serving.emplace_back([this, client = std::move(client)] { serve(client.get()); });
    }
    for (auto& thread : serving) thread.join();
  }

  static std::size_t number_at(std::string_view text, std::size_t at) {
    std::size_t number = 0;
    std::from_chars(text.data() + at, text.data() + text.size(), number);
    return number;
  }

  // Returns the whole of a request, its connection set to end after it; "" when the client went away.
  static std::string read_request(int client) {
    std::string text;
    char buffer[65536];
    std::size_t wanted = std::string::npos;
    while (text.size() < wanted) {
      const ssize_t got = recv(client, buffer, sizeof buffer, 0);
      if (got <= 0) return {};
      text.append(buffer, static_cast<std::size_t>(got));
      const std::size_t head = text.find("\r\n\r\n");
      if (wanted != std::string::npos || head == std::string::npos) continue;
      const std::size_t length = text.find("Content-Length: ");
      wanted = head + 4 + (length < head ? number_at(text, length + 16) : 0);
    }
    return text.insert(text.find("\r\n"), "\r\nConnection: close");
  }

  Trouble next(const std::string& line) {
    const std::lock_guard lock(mutex_);
    seen_.push_back(line);
    if (troubles_.empty() || line.find(match_) == std::string::npos) return Trouble::none;
    const Trouble trouble = troubles_.front();
    troubles_.pop_front();
    return trouble;
  }

  static void answer(int client, const char* status, const char* code) {
    const std::string body = fmt::format("<Error><Code>{}</Code><Message>As planned.</Message></Error>", code);
    send_all(client, fmt::format("HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}", status,
                                 body.size(), body));
  }
  static void send_all(int to, std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(to, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  void serve(int client) {
    const std::string request = read_request(client);
    if (request.empty()) return;
    const Trouble trouble = next(request.substr(0, request.find("\r\n")));
    if (trouble == Trouble::close_at_once) return;
    if (trouble == Trouble::slow_down) return answer(client, "503 Slow Down", "SlowDown");
    if (trouble == Trouble::internal_error) return answer(client, "200 OK", "InternalError");
    if (trouble == Trouble::refuse) return answer(client, "403 Forbidden", "AccessDenied");
    const FileDescriptor server = connect_to(target_);
    send_all(server.get(), request);
    std::string whole;
    char buffer[65536];
    for (ssize_t got = 0; (got = recv(server.get(), buffer, sizeof buffer, 0)) > 0;) {
      whole.append(buffer, static_cast<std::size_t>(got));
    }
    if (trouble == Trouble::cut_body) whole.resize(whole.size() - whole.size() / 4);
    send_all(client, whole);
  }

  const std::uint16_t target_;
  std::uint16_t port_ = 0;
  const FileDescriptor listener_;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;

  std::mutex mutex_;
  std::string match_;              // guarded by mutex_
  std::deque<Trouble> troubles_;   // guarded by mutex_
  std::vector<std::string> seen_;  // guarded by mutex_
};

}  // namespace tidemill::blobs
