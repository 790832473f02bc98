#include "base/outgoing.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <random>
#include <thread>

namespace tidemill::outgoing {
namespace {

Client client(Options options = {}) { return Client::create(std::move(options)).value(); }

Client local_client() { return client({.plain_http = true, .allowed_networks = {"127.0.0.0/8", "::1/128"}}); }

TEST(Addresses, ClassesOfIPv4) {
  for (const char* text :
       {"0.0.0.0",         "0.1.2.3",         "10.0.0.1",   "100.64.0.1",     "100.127.255.255", "127.0.0.1",
        "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1",       "192.0.2.1",
        "192.88.99.1",     "192.168.1.1",     "198.18.0.1", "198.19.255.255", "198.51.100.1",    "203.0.113.1",
        "224.0.0.1",       "239.255.255.255", "240.0.0.1",  "255.255.255.255"}) {
    EXPECT_FALSE(Address::parse(text).value().is_public()) << text;
  }
  for (const char* text : {"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
                           "126.255.255.255", "128.0.0.1", "169.253.0.1", "172.15.255.255", "172.32.0.0", "192.167.0.1",
                           "198.17.0.1", "198.20.0.1", "223.255.255.255"}) {
    EXPECT_TRUE(Address::parse(text).value().is_public()) << text;
  }
}

TEST(Addresses, ClassesOfIPv6) {
  for (const char* text : {"::",
                           "::1",
                           "::7f00:1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "::ffff:a9fe:a9fe",
                           "::ffff:0.0.0.0",
                           "64:ff9b::7f00:1",
                           "64:ff9b::10.0.0.1",
                           "64:ff9b:1::1",
                           "100::1",
                           "2001::1",
                           "2001:db8::1",
                           "2002:7f00:1::",
                           "2002:a00:1::1",
                           "3fff::1",
                           "5f00::1",
                           "fc00::1",
                           "fd12:3456::1",
                           "fe80::1",
                           "febf::1",
                           "fec0::1",
                           "ff02::1",
                           "4000::1",
                           "::2:0:0:1"}) {
    EXPECT_FALSE(Address::parse(text).value().is_public()) << text;
  }
  for (const char* text : {"2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "::ffff:8.8.8.8",
                           "64:ff9b::8.8.8.8", "2002:808:808::1"}) {
    EXPECT_TRUE(Address::parse(text).value().is_public()) << text;
  }
}

TEST(Addresses, OnlyTheCanonicalTextIsRead) {
  for (const char* text : {"", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01",
                           "127.0.0.1 ", "1.2.3.4.5", "256.1.1.1", "fe80::1%eth0", "[::1]", ":::1", "localhost"}) {
    EXPECT_FALSE(Address::parse(text)) << text;
  }
  EXPECT_FALSE(Address::parse(std::string("127.0.0.1\0.example.com", 22)));
  EXPECT_EQ(Address::parse("::ffff:10.1.2.3").value().str(), "10.1.2.3");
}

TEST(Addresses, Networks) {
  for (const char* text :
       {"", "10.0.0.0", "10.0.0.0/33", "10.0.0.1/8", "::/129", "x/8", "10.0.0.0/", "10.0.0.0/8x", "10.0.0.0/-1"}) {
    EXPECT_FALSE(Network::parse(text)) << text;
  }
  const auto ten = Network::parse("10.128.0.0/9").value();
  EXPECT_TRUE(ten.contains(Address::parse("10.128.0.0").value()));
  EXPECT_TRUE(ten.contains(Address::parse("::ffff:10.255.255.255").value()));
  EXPECT_FALSE(ten.contains(Address::parse("10.127.255.255").value()));
  EXPECT_TRUE(Network::parse("0.0.0.0/0").value().contains(Address::parse("127.0.0.1").value()));
  EXPECT_FALSE(Network::parse("0.0.0.0/0").value().contains(Address::parse("fe80::1").value()));
  EXPECT_TRUE(Network::parse("::/0").value().contains(Address::parse("127.0.0.1").value()));
}

TEST(Outgoing, UrlsThatAreRefusedBeforeAnythingIsSent) {
  const Client https = client();
  for (const char* url : {"",
                          "x",
                          "ftp://1.1.1.1/",
                          "file:///etc/passwd",
                          "gopher://1.1.1.1/",
                          "http://1.1.1.1/",
                          "https://",
                          "https:///path",
                          "https://user:pw@1.1.1.1/",
                          "https://1.1.1.1@10.0.0.1/",
                          "https://127.0.0.1/",
                          "https://localhost/",
                          "https://127.1/",
                          "https://2130706433/",
                          "https://0x7f000001/",
                          "https://0x7f.1/",
                          "https://0177.0.0.1/",
                          "https://0/",
                          "https://0.0.0.0/",
                          "https://[::1]/",
                          "https://[::]/",
                          "https://[::ffff:127.0.0.1]/",
                          "https://[::ffff:7f00:1]/",
                          "https://[64:ff9b::7f00:1]/",
                          "https://169.254.169.254/latest/meta-data/",
                          "https://10.1.2.3:8443/",
                          "https://127.0.0.1./",
                          "https://1.1.1.1 .example/",
                          "https://1.1.1.1\r\nHost: x/",
                          "https://no-such-host.invalid/",
                          "https://\xE2\x91\xA0\xE2\x91\xA1.1.1.1/"}) {
    EXPECT_FALSE(https.check(url)) << url;
    EXPECT_FALSE(https.post(url, {}, "{}")) << url;
  }
  EXPECT_TRUE(https.check("https://1.1.1.1/hook?x=1"));
  EXPECT_TRUE(https.check("https://[2606:4700::1111]:8443/"));
}

TEST(Outgoing, NumbersInEverySpellingNeverReachThisMachine) {
  const Client https = client({.plain_http = true});
  std::mt19937 random(7);
  for (int i = 0; i < 2'000; ++i) {
    const std::uint32_t address = 0x7F000000U | (random() & 0xFFFFFFU);
    std::string host;
    char text[64];
    const auto byte = [&](int shift) { return address >> shift & 0xFFU; };
    switch (random() % 6) {
      case 0:
        std::snprintf(text, sizeof text, "%u", address);
        break;
      case 1:
        std::snprintf(text, sizeof text, "0x%x", address);
        break;
      case 2:
        std::snprintf(text, sizeof text, "0%o", address);
        break;
      case 3:
        std::snprintf(text, sizeof text, "%u.%u", byte(24), address & 0xFFFFFFU);
        break;
      case 4:
        std::snprintf(text, sizeof text, "0x%x.0%o.%u", byte(24), byte(16), address & 0xFFFFU);
        break;
      default:
        std::snprintf(text, sizeof text, "%u.%u.%u.%u", byte(24), byte(16), byte(8), byte(0));
        break;
    }
    EXPECT_FALSE(https.check(std::string("http://") + text + "/")) << text;
  }
}

TEST(Outgoing, ABadNetworkIsNamed) {
  const auto made = Client::create({.allowed_networks = {"10.0.0.0/8", "ten"}});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message.find("ten"), std::string::npos);
}

// Answers one connection with `reply` and keeps what it was sent.
class OneAnswer {
 public:
  explicit OneAnswer(std::string reply) : reply_(std::move(reply)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    listen(listener_, 4);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~OneAnswer() {
    finish();
    close(listener_);
  }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/hook"; }
  // Ends it and returns what was sent.
  [[nodiscard]] const std::string& request() {
    finish();
    return request_;
  }

 private:
  void finish() {
    shutdown(listener_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }

  void serve() {
    const int peer = accept(listener_, nullptr, nullptr);
    if (peer < 0) return;
    char bytes[4096];
    while (request_.find("\r\n\r\n{}") == std::string::npos) {
      const ssize_t count = read(peer, bytes, sizeof bytes);
      if (count <= 0) break;
      request_.append(bytes, static_cast<std::size_t>(count));
    }
    [[maybe_unused]] const ssize_t sent = write(peer, reply_.data(), reply_.size());
    close(peer);
  }

  const std::string reply_;
  const int listener_;
  int port_ = 0;
  std::string request_;
  std::thread thread_;
};

TEST(Outgoing, SendsAndReturnsWhatCameBack) {
  OneAnswer server("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nlater");
  const auto answer = local_client().post(server.url(), {{"X-One", "1"}, {"Content-Type", "application/json"}}, "{}");
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->status, 429);
  EXPECT_EQ(answer->retry_after_s, 7);
  EXPECT_EQ(answer->body, "later");
  const std::string& request = server.request();
  EXPECT_TRUE(request.starts_with("POST /hook HTTP/1.1\r\n"));
  EXPECT_NE(request.find("X-One: 1\r\n"), std::string::npos);
}

TEST(Outgoing, ARedirectIsAnAnswerAndNotFollowed) {
  OneAnswer server("HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n");
  const auto answer = local_client().post(server.url(), {}, "{}");
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->status, 302);
}

TEST(Outgoing, ALongAnswerIsCut) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + std::string(300, 'a'));
  Options options{.plain_http = true, .allowed_networks = {"127.0.0.0/8"}};
  options.answer_bytes_max = 100;
  const auto answer = client(options).post(server.url(), {}, "{}");
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body.size(), 100U);
}

TEST(Outgoing, TheSocketItselfIsRefused) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  // post() does not resolve beforehand: this is the check at the connection, which a name that now resolves otherwise
  // meets.
  const auto answer = client({.plain_http = true}).post(server.url(), {}, "{}");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason, "outgoing.refused_address");
  EXPECT_TRUE(server.request().empty());
}

TEST(Outgoing, NobodyThereIsUnavailable) {
  std::string url;
  {
    const OneAnswer gone("");
    url = gone.url();
  }
  const auto answer = local_client().post(url, {}, "{}");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace tidemill::outgoing
