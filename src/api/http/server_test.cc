#include "api/http/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "base/files.h"

namespace tidemill::http {
namespace {

using namespace std::chrono_literals;

// A client that sends exactly what it is told.
class Wire {
 public:
  explicit Wire(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  [[nodiscard]] bool connected() const { return connected_; }
  void send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the server has closed: what it said before is still to be read
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  void finish() const { ::shutdown(socket_.get(), SHUT_WR); }
  // Reads until `enough`, the end, or the time is up.
  std::string read(const std::function<bool(std::string_view)>& enough = {}, std::chrono::milliseconds limit = 5000ms) {
    const auto until = std::chrono::steady_clock::now() + limit;
    while (!closed_ && !(enough && enough(got_))) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      pollfd waiting{socket_.get(), POLLIN, 0};
      if (left.count() <= 0 || ::poll(&waiting, 1, static_cast<int>(left.count())) <= 0) break;
      char piece[65536];
      const ssize_t bytes = ::recv(socket_.get(), piece, sizeof piece, 0);
      if (bytes <= 0) closed_ = true;
      if (bytes > 0) got_.append(piece, static_cast<std::size_t>(bytes));
    }
    return std::exchange(got_, {});
  }
  // Reads one answer with a Content-Length, head and body.
  std::string answer() {
    return read([](std::string_view text) {
      const std::size_t end = text.find("\r\n\r\n");
      const std::size_t at = text.find("Content-Length: ");
      if (end == std::string_view::npos) return false;
      const std::size_t length = at < end ? std::stoul(std::string(text.substr(at + 16, 20))) : 0;
      return text.size() >= end + 4 + length;
    });
  }
  [[nodiscard]] bool closed() const { return closed_; }

 private:
  FileDescriptor socket_;
  bool connected_ = false;
  bool closed_ = false;
  std::string got_;
};

std::string body_of(std::string_view answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  return end == std::string_view::npos ? std::string() : std::string(answer.substr(end + 4));
}
int status(std::string_view answer) {
  return answer.starts_with("HTTP/1.1 ") ? std::stoi(std::string(answer.substr(9, 3))) : 0;
}
std::size_t count(std::string_view text, std::string_view what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

// Opens when told to; for handlers that have to wait.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    moved_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    moved_.wait_for(lock, 20s, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable moved_;
  bool open_ = false;
};

class Ticks final : public Stream {
 public:
  std::optional<std::string> next(std::int64_t) override {
    return ++count_ > 3 ? std::optional<std::string>("") : "data: " + std::to_string(count_) + "\n\n";
  }

 private:
  int count_ = 0;
};

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    database_ = sql::Database::open(folder_.path() / "test.db").value();
    events_ = events::Events::create(*database_, clock_).value();
    access_ = access::Access::create(*database_, *events_, clock_).value();
    guard_ = std::make_unique<Guard>(*access_, GuardOptions{});
  }
  void TearDown() override {
    gate_.open();
    server_.reset();
  }

  void start(ServerOptions options = {}) {
    options.worker_threads = std::min<std::int64_t>(options.worker_threads, 4);
    add_routes();
    server_ = Server::create(router_, *guard_, "127.0.0.1", 0, folder_.path() / "uploads", options).value();
    server_->start();
  }

  void on(Method method, std::string path, Body body, std::function<void(Request&&, Done)> handle,
          Options options = {}) {
    routes_.push_back(raw(method, std::move(path), Right::read, "x", body, std::move(handle), options));
  }

  void add_routes() {
    on(Method::get, "/hello", Body::none, [](Request&&, const Done& done) { done(Response::text(200, "hello")); });
    on(Method::get, "/fast", Body::none, [](Request&&, const Done& done) { done(Response::text(200, "fast")); },
       {.run = Run::inline_io});
    on(Method::post, "/echo", Body::bytes, [](Request&& r, const Done& done) { done(Response::text(200, r.body)); },
       {.body_bytes_max = 1000});
    on(Method::get, "/throws", Body::none, [](Request&&, const Done&) { throw std::runtime_error("bad luck"); });
    on(Method::get, "/silent", Body::none, [](Request&&, const Done&) {});
    on(Method::get, "/twice", Body::none, [](Request&&, const Done& done) {
      done(Response::text(200, "once"));
      done(Response::text(200, "twice"));
    });
    on(Method::get, "/wait", Body::none, [this](Request&&, const Done& done) {
      ++waiting_;
      gate_.wait();
      done(Response::text(200, "waited"));
    });
    on(Method::get, "/later", Body::none,
       [this](Request&&, Done done) {
         later_ = std::move(done);
         has_later_ = true;
       },
       {.run = Run::inline_io});
    on(Method::get, "/big", Body::none,
       [](Request&&, const Done& done) { done(Response::text(200, std::string(3 << 20, 'b'))); });
    on(Method::get, "/stream", Body::none, [](Request&&, const Done& done) {
      Response response;
      response.content_type = "text/event-stream";
      response.stream = std::make_shared<Ticks>();
      done(std::move(response));
    });
    on(Method::get, "/file", Body::none, [this](Request&&, const Done& done) {
      Response response;
      response.file = FileBody{folder_.path() / "served", false};
      done(std::move(response));
    });
    on(Method::post, "/upload", Body::file,
       [this](Request&& r, const Done& done) {
         const std::string bytes = read_file(r.body_file, 1 << 24).value_or("missing");
         if (r.query.get("keep")) std::filesystem::rename(r.body_file, folder_.path() / "kept");
         done(Response::text(
             200, std::to_string(bytes.size()) + " " + (bytes.empty() ? "" : bytes.substr(bytes.size() - 1))));
       },
       {.body_bytes_max = 1 << 20});
    ASSERT_TRUE(router_.add(std::move(routes_)));
  }

  std::string ask(std::string_view text) {
    Wire wire(server_->port());
    wire.send(text);
    return wire.answer();
  }
  std::string get(const std::string& path) { return ask("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n"); }
  std::size_t uploads_left() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_.path() / "uploads"), {}));
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<access::Access> access_;
  std::unique_ptr<Guard> guard_;
  Router router_;
  std::vector<Route> routes_;
  Gate gate_;
  std::atomic<int> waiting_ = 0;
  Done later_;  // to be read once has_later_
  std::atomic<bool> has_later_ = false;
  std::unique_ptr<Server> server_;
};

constexpr const char* kGet = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";

TEST_F(ServerTest, KeepsConnectionsAndAnswersPipelinedRequestsInOrder) {
  start();
  Wire wire(server_->port());
  for (int i = 0; i < 3; ++i) {
    wire.send(kGet);
    EXPECT_EQ(body_of(wire.answer()), "hello");
  }
  wire.send(
      "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\nGET /fast HTTP/1.1\r\nHost: localhost\r\nConnection: "
      "close\r\n\r\n");
  const std::string both = wire.read();
  EXPECT_TRUE(wire.closed());
  EXPECT_EQ(count(both, "HTTP/1.1 200"), 2u);
  EXPECT_LT(both.find("hello"), both.find("fast"));
}

TEST_F(ServerTest, AnOldClientIsClosedUnlessItAsksToStay) {
  start();
  Wire old(server_->port());
  old.send("GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n");
  EXPECT_EQ(status(old.read()), 200);
  EXPECT_TRUE(old.closed());
  EXPECT_NE(
      ask("GET /hello HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n").find("Connection: keep-alive"),
      std::string::npos);
}

TEST_F(ServerTest, HeadHasTheHeadOfGetAndNoBody) {
  start();
  Wire wire(server_->port());
  wire.send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const std::string answer = wire.read([](std::string_view t) { return t.ends_with("\r\n\r\n"); });
  EXPECT_NE(answer.find("Content-Length: 5"), std::string::npos);
  wire.send(kGet);
  EXPECT_EQ(body_of(wire.answer()), "hello");
}

TEST_F(ServerTest, BodiesArriveWholeByLengthAndInChunks) {
  start();
  EXPECT_EQ(body_of(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")), "abc");
  EXPECT_EQ(body_of(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")), "");
  Wire wire(server_->port());
  wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
  std::this_thread::sleep_for(20ms);
  wire.send("3\r");
  std::this_thread::sleep_for(20ms);
  wire.send("\ncde\r\n0\r\n\r\n");
  EXPECT_EQ(body_of(wire.answer()), "abcde");
  wire.send(kGet);
  EXPECT_EQ(body_of(wire.answer()), "hello");  // nothing was left behind
}

TEST_F(ServerTest, ABodyAtTheLimitFitsAndOnePastItDoesNot) {
  start();
  const auto post = [&](std::size_t bytes) {
    return ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(bytes) + "\r\n\r\n" +
               std::string(bytes, 'x'));
  };
  EXPECT_EQ(body_of(post(1000)).size(), 1000u);
  const std::string refused = post(1001);
  EXPECT_EQ(status(refused), 413);
  EXPECT_NE(refused.find("Connection: close"), std::string::npos);
  const std::string chunk = "3e9\r\n" + std::string(1001, 'x') + "\r\n0\r\n\r\n";
  EXPECT_EQ(status(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk)), 413);
}

TEST_F(ServerTest, ARefusalIsReadEvenByWhoSendsALotAtOnce) {
  start();
  Wire wire(server_->port());
  wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n");
  wire.send(std::string(8'000'000, 'x'));
  EXPECT_EQ(status(wire.read()), 413);
}

// Each of these means different things to different servers; ours must answer at most one request, then close.
TEST_F(ServerTest, NoRequestHidesInAnothersBody) {
  start();
  const std::string hidden = "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const std::vector<std::string> heads{"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                                       "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                                       "Content-Length: 4\r\nContent-Length: 5\r\n",
                                       "Content-Length: 4, 5\r\n",
                                       "Content-Length: +4\r\n",
                                       "Content-Length: -1\r\n",
                                       "Content-Length: 0x4\r\n",
                                       "Content-Length: 99999999999999999999999\r\n",
                                       "Content-Length : 4\r\n",
                                       "Transfer-Encoding : chunked\r\n",
                                       "Transfer-Encoding: xchunked\r\n",
                                       "Transfer-Encoding: chunked, identity\r\n",
                                       "Transfer-Encoding: identity\r\n",
                                       "Transfer-Encoding: gzip, chunked\r\n",
                                       "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                                       "Host: evil.example\r\n",
                                       "X: a\nContent-Length: 4\r\n",
                                       "X: a\rContent-Length: 4\r\n"};
  for (const auto& head : heads) {
    Wire wire(server_->port());
    wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\n" + head + "\r\n0\r\n\r\n" + hidden);
    wire.finish();
    const std::string answer = wire.read();
    EXPECT_LE(count(answer, "X-Request-Id: "), 1u) << head << answer;
    EXPECT_EQ(count(answer, "HTTP/1.1 2"), 0u) << head << answer;
    EXPECT_TRUE(wire.closed()) << head;
  }
}

TEST_F(ServerTest, ChunksAreReadStrictly) {
  start();
  for (const char* body : {"g\r\nab\r\n0\r\n\r\n", "-1\r\nab\r\n0\r\n\r\n", "2\r\nabXX0\r\n\r\n",
                           "ffffffffffffffff1\r\nab\r\n0\r\n\r\n"}) {
    Wire wire(server_->port());
    wire.send(std::string("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n") + body);
    wire.finish();
    EXPECT_NE(status(wire.read()), 200) << body;
  }
}

TEST_F(ServerTest, WhatIsNoHttpIsAnsweredOnceAndClosed) {
  start();
  for (const char* text : {"hello\r\n\r\n", "GET /hello\r\n\r\n", "GET /hello HTTP/9.9\r\n\r\n", "\r\n\r\n\r\n\r\n",
                           "GET /hello HTTP/1.1\r\nNo colon\r\n\r\n", "GET hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
                           "GET /hello HTTP/1.1\r\n\r\n", "TRACE /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"}) {
    Wire wire(server_->port());
    wire.send(text);
    wire.finish();
    const std::string answer = wire.read();
    EXPECT_EQ(count(answer, "HTTP/1.1 2"), 0u) << text;
    EXPECT_LE(count(answer, "X-Request-Id: "), 1u) << text;
    EXPECT_EQ(count(answer, "X-Request-Id: \r\n"), 0u) << text;
    EXPECT_TRUE(wire.closed()) << text;
  }
}

TEST_F(ServerTest, AHeaderPastTheLimitIs431) {
  start({.header_bytes_max = 2048});
  const auto with = [&](std::size_t bytes) {
    const std::string begin = "GET /hello HTTP/1.1\r\nHost: localhost\r\nX: ";
    return ask(begin + std::string(bytes - begin.size() - 4, 'x') + "\r\n\r\n");
  };
  EXPECT_EQ(status(with(2000)), 200);
  EXPECT_EQ(status(with(2200)), 431);
}

TEST_F(ServerTest, WhoIsSlowIsCutOff) {
  start({.header_timeout_ms = 100, .body_timeout_ms = 100, .body_bytes_per_s_min = 1'000'000, .idle_timeout_ms = 200});
  Wire idle(server_->port());
  Wire header(server_->port());
  header.send("GET /hello HTTP/1.1\r\n");
  Wire body(server_->port());
  body.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\nab");
  for (int i = 0; i < 20; ++i) {  // progress alone is not enough
    std::this_thread::sleep_for(20ms);
    header.send("X: y\r\n");
    body.send("c");
  }
  EXPECT_EQ(header.read({}, 2s), "");
  EXPECT_TRUE(header.closed());
  body.read({}, 2s);
  EXPECT_TRUE(body.closed());
  idle.read({}, 2s);
  EXPECT_TRUE(idle.closed());
}

TEST_F(ServerTest, ABodyThatIsAskedForFirstIsSentAfterThe100) {
  start();
  Wire wire(server_->port());
  wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(wire.read([](std::string_view t) { return t.ends_with("\r\n\r\n"); }), "HTTP/1.1 100 Continue\r\n\r\n");
  wire.send("abc");
  EXPECT_EQ(body_of(wire.answer()), "abc");
  const std::string refused =
      ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(status(refused), 413);
  EXPECT_EQ(status(ask("GET /hello HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n\r\n")), 400);
}

TEST_F(ServerTest, EveryHandlerAnswersOnceWhateverItDoes) {
  start();
  const std::string thrown = get("/throws");
  EXPECT_EQ(status(thrown), 500);
  EXPECT_EQ(thrown.find("bad luck"), std::string::npos);  // that is for the log
  EXPECT_EQ(status(get("/silent")), 500);
  EXPECT_EQ(body_of(get("/twice")), "once");
  Wire wire(server_->port());
  wire.send("GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
  while (!has_later_.load()) std::this_thread::sleep_for(1ms);
  std::thread([&] { std::exchange(later_, nullptr)(Response::text(200, "late")); }).join();
  EXPECT_EQ(body_of(wire.answer()), "late");
}

TEST_F(ServerTest, AnAnswerAfterTheEndOfTheServerIsDropped) {
  start({.drain_ms = 20});
  Wire wire(server_->port());
  wire.send("GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
  while (!has_later_.load()) std::this_thread::sleep_for(1ms);
  server_.reset();
  std::exchange(later_, nullptr)(Response::text(200, "too late"));
  EXPECT_EQ(wire.read(), "");
}

TEST_F(ServerTest, WhenTheQueueIsFullItSaysSo) {
  start({.worker_threads = 1, .worker_queue_max = 1});
  std::vector<std::unique_ptr<Wire>> wires;
  const auto ask_to_wait = [&] {
    wires.push_back(std::make_unique<Wire>(server_->port()));
    wires.back()->send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
  };
  ask_to_wait();
  while (waiting_.load() == 0) std::this_thread::sleep_for(1ms);
  ask_to_wait();
  std::this_thread::sleep_for(50ms);
  const std::string busy = get("/hello");
  EXPECT_EQ(status(busy), 429);
  EXPECT_NE(busy.find("Retry-After: 1"), std::string::npos);
  EXPECT_EQ(body_of(get("/fast")), "fast");  // the data plane goes on
  gate_.open();
  for (auto& wire : wires) EXPECT_EQ(body_of(wire->answer()), "waited");
}

TEST_F(ServerTest, ConnectionsPastTheLimitAreClosed) {
  start({.connections_max = 2});
  Wire first(server_->port());
  Wire second(server_->port());
  first.send(kGet);
  second.send(kGet);
  EXPECT_EQ(status(first.answer()), 200);
  EXPECT_EQ(status(second.answer()), 200);
  Wire third(server_->port());
  third.send(kGet);
  EXPECT_EQ(third.read({}, 2s), "");
  EXPECT_TRUE(third.closed());
}

TEST_F(ServerTest, StreamsFlowAndAreLimited) {
  start({.streams_max = 1});
  Wire wire(server_->port());
  wire.send("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const std::string got = wire.read([](std::string_view t) { return t.find("data: 3\n\n") != std::string_view::npos; });
  EXPECT_NE(got.find("data: 1\n\ndata: 2\n\ndata: 3\n\n"), std::string::npos);
  EXPECT_EQ(got.find("Content-Length"), std::string::npos);
  EXPECT_EQ(status(get("/stream")), 429);
  const auto begun = std::chrono::steady_clock::now();
  server_->stop();  // does not wait for what never ends
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 3s);
}

TEST_F(ServerTest, LongAnswersArriveWhole) {
  start();
  Wire wire(server_->port());
  wire.send("GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  std::this_thread::sleep_for(100ms);  // the socket's buffer fills up meanwhile
  EXPECT_EQ(body_of(wire.read()), std::string(3 << 20, 'b'));
}

TEST_F(ServerTest, FilesAreServedWholeAndInParts) {
  start();
  std::ofstream(folder_.path() / "served") << std::string(300'000, 'a') << "xyz";
  EXPECT_EQ(body_of(get("/file")).size(), 300'003u);
  const auto part = [&](const std::string& range) {
    return ask("GET /file HTTP/1.1\r\nHost: localhost\r\nRange: " + range + "\r\n\r\n");
  };
  const std::string tail = part("bytes=-3");
  EXPECT_EQ(status(tail), 206);
  EXPECT_EQ(body_of(tail), "xyz");
  EXPECT_NE(tail.find("Content-Range: bytes 300000-300002/300003"), std::string::npos);
  const std::string beyond = part("bytes=400000-");
  EXPECT_EQ(status(beyond), 416);
  EXPECT_NE(beyond.find("Content-Range: bytes */300003"), std::string::npos);
  std::filesystem::remove(folder_.path() / "served");
  EXPECT_EQ(status(get("/file")), 404);
}

TEST_F(ServerTest, UploadsGoToAFileThatIsGoneAfterwards) {
  start();
  const auto post = [&](const std::string& path, std::size_t bytes) {
    return ask("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(bytes) +
               "\r\n\r\n" + (bytes == 0 ? "" : std::string(bytes - 1, 'x') + "z"));
  };
  EXPECT_EQ(body_of(post("/upload", 0)), "0 ");
  EXPECT_EQ(body_of(post("/upload", 1)), "1 z");
  EXPECT_EQ(body_of(post("/upload", 256 * 1024)), "262144 z");
  EXPECT_EQ(body_of(post("/upload", 1 << 20)), "1048576 z");
  EXPECT_EQ(status(post("/upload", (1 << 20) + 1)), 413);
  EXPECT_EQ(uploads_left(), 0u);
  EXPECT_EQ(body_of(post("/upload?keep=1", 10)), "10 z");
  EXPECT_EQ(read_file(folder_.path() / "kept", 100).value(), "xxxxxxxxxz");
}

TEST_F(ServerTest, AChunkedUploadIsLimitedAsWell) {
  start();
  const std::string chunk = "10000\r\n" + std::string(0x10000, 'c') + "\r\n";
  const auto upload = [&](int chunks) {
    std::string text = "POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < chunks; ++i) text += chunk;
    return ask(text + "0\r\n\r\n");
  };
  EXPECT_EQ(body_of(upload(16)), "1048576 c");
  EXPECT_EQ(status(upload(17)), 413);
  EXPECT_EQ(uploads_left(), 0u);
}

TEST_F(ServerTest, AnUploadThatBreaksOffLeavesNothing) {
  start();
  {
    Wire wire(server_->port());
    wire.send("POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n\r\n" + std::string(300'000, 'x'));
    wire.finish();
    EXPECT_NE(status(wire.read()), 200);
  }
  EXPECT_EQ(uploads_left(), 0u);
}

TEST_F(ServerTest, WhatHasBegunIsFinishedAndNothingNewIsTaken) {
  start();
  Wire wire(server_->port());
  wire.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
  while (waiting_.load() == 0) std::this_thread::sleep_for(1ms);
  std::thread stopping([&] { server_->stop(); });
  while (!server_->draining()) std::this_thread::sleep_for(1ms);
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(Wire(server_->port()).connected());
  gate_.open();
  const std::string answer = wire.read();
  EXPECT_EQ(body_of(answer), "waited");
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  stopping.join();
}

TEST_F(ServerTest, WhatWaitsPastTheDrainIsGivenUpAndAnswered) {
  start({.drain_ms = 20});
  Wire wire(server_->port());
  wire.send("GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
  while (waiting_.load() == 0) std::this_thread::sleep_for(1ms);
  server_->stop([&] { gate_.open(); });
  EXPECT_EQ(body_of(wire.read()), "waited");
}

TEST_F(ServerTest, TwoServersDoNotShareAPort) {
  start();
  const auto second = Server::create(router_, *guard_, "127.0.0.1", server_->port(), folder_.path() / "u2", {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().reason, "http.cannot_listen");
  EXPECT_EQ(Server::create(router_, *guard_, "not an address", 0, folder_.path() / "u2", {}).error().reason,
            "http.bad_host");
  EXPECT_EQ(Server::create(router_, *guard_, "127.0.0.1", 0, folder_.path() / "u2", {.io_threads = 0}).error().reason,
            "http.bad_option");
}

TEST_F(ServerTest, ManyAtOnceGetTheirOwnAnswers) {
  start();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> clients;
  for (int client = 0; client < 8; ++client) {
    clients.emplace_back([&, client] {
      Wire wire(server_->port());
      for (int i = 0; i < 150; ++i) {
        const std::string text = std::to_string(client) + "-" + std::to_string(i);
        wire.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(text.size()) +
                  "\r\n\r\n" + text);
        if (body_of(wire.answer()) != text) ++wrong;
      }
    });
  }
  for (auto& client : clients) client.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace tidemill::http
