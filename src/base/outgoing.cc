#include "base/outgoing.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <mutex>
#include <optional>

namespace tidemill::outgoing {
namespace {

constexpr std::size_t kUrlBytesMax = 2'048;

struct CloseUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct CloseEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

void init_once() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::unexpected<Error> bad_url(const std::string& url, std::string_view reason, std::string_view why,
                               std::string_view remedy) {
  return fail(Code::kInvalidArgument, std::string(reason),
              fmt::format("The URL '{}' cannot be used: {}.", url.substr(0, 256), why), std::string(remedy));
}

std::string part(CURLU* url, CURLUPart which) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, 0) != CURLUE_OK) return {};
  std::string out(text);
  curl_free(text);
  return out;
}

// Whether a host is made like a number: then it must be an address in its canonical form.
bool looks_numeric(std::string_view host) {
  if (host.starts_with('[') || host.find(':') != std::string_view::npos) return true;
  const std::size_t dot = host.ends_with('.') ? host.rfind('.', host.size() - 2) : host.rfind('.');
  const std::string_view last = dot == std::string_view::npos ? host : host.substr(dot + 1);
  if (last.empty()) return true;
  if (last.starts_with("0x") || last.starts_with("0X")) return true;
  return std::ranges::all_of(last, [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

// What libcurl's callbacks work on. Belongs to the thread that sends.
struct Exchange {
  const Client& client;
  const std::size_t body_max;
  const std::function<bool()>& stop;
  Answer answer;
  std::optional<Address> refused;
};

std::size_t keep_body(char* bytes, std::size_t, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  std::string& body = exchange.answer.body;
  body.append(bytes, std::min(count, exchange.body_max - std::min(exchange.body_max, body.size())));
  return body.size() >= exchange.body_max ? 0 : count;  // 0 ends the transfer: what follows is not wanted
}

curl_socket_t open_socket(void* user, curlsocktype, curl_sockaddr* peer) {
  auto& exchange = *static_cast<Exchange*>(user);
  const auto address = Address::of(peer->addr);
  if (!address || !exchange.client.may_reach(*address)) {
    exchange.refused = address.value_or(Address());
    return CURL_SOCKET_BAD;
  }
  return socket(peer->family, peer->socktype | SOCK_CLOEXEC, peer->protocol);
}

int ask_stop(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& exchange = *static_cast<Exchange*>(user);
  return exchange.stop && exchange.stop() ? 1 : 0;
}

void set_options(CURL* easy, const Options& options, const std::string& url, const std::string& body) {
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, options.plain_http ? "http,https" : "https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_ms_max));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options.total_ms_max));
  if (!options.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options.ca_file.c_str());
  curl_easy_setopt(easy, CURLOPT_POST, 1L);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
}

void set_callbacks(CURL* easy, Exchange& exchange) {
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, ask_stop);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &exchange);
}

}  // namespace

Result<Client> Client::create(Options options) {
  init_once();
  std::vector<Network> allowed;
  for (const std::string& text : options.allowed_networks) allowed.push_back(TM_TRY(Network::parse(text)));
  return Client(std::move(options), std::move(allowed));
}

bool Client::may_reach(const Address& address) const {
  return address.is_public() ||
         std::ranges::any_of(allowed_, [&](const Network& network) { return network.contains(address); });
}

Result<std::string> Client::checked_host(const std::string& url) const {
  const bool clean = std::ranges::all_of(url, [](char c) { return c > 0x20 && c < 0x7F; });
  if (!clean || url.size() > kUrlBytesMax) {
    return bad_url(url, "outgoing.bad_url", "it has spaces, control or other characters beyond ASCII, or is too long",
                   "Escape them; 2048 bytes are the most.");
  }
  const std::unique_ptr<CURLU, CloseUrl> parsed(curl_url());
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    return bad_url(url, "outgoing.bad_url", "it is no URL", "Write https://host/path.");
  }
  const std::string scheme = part(parsed.get(), CURLUPART_SCHEME);
  if (scheme != "https" && !(scheme == "http" && options_.plain_http)) {
    return bad_url(url, "outgoing.bad_scheme", fmt::format("its scheme is '{}'", scheme),
                   "Use https, or let the server take http with --set outgoing.plain_http=true.");
  }
  if (!part(parsed.get(), CURLUPART_USER).empty() || !part(parsed.get(), CURLUPART_PASSWORD).empty()) {
    return bad_url(url.substr(0, url.find(':')) + "://…", "outgoing.credentials", "it carries credentials",
                   "Leave them out; receivers check the signature.");
  }
  std::string host = part(parsed.get(), CURLUPART_HOST);
  if (host.empty()) return bad_url(url, "outgoing.bad_url", "it names no host", "Write https://host/path.");
  // libcurl's parser makes "127.1" an address; what was written must be canonical all the same.
  const std::size_t authority = url.find("//") + 2;
  std::string_view written = std::string_view(url).substr(authority);
  written = written.substr(0, written.find_first_of("/?#"));
  if (!written.starts_with('[')) written = written.substr(0, written.find(':'));
  if (!written.starts_with('[') && looks_numeric(written) && !Address::parse(written)) {
    return bad_url(url, "outgoing.bad_address", fmt::format("'{}' is not an address in its canonical form", written),
                   "Write the four numbers in decimal, or a name.");
  }
  return host;
}

Result<void> Client::check(const std::string& url) const {
  std::string host = TM_TRY(checked_host(url));
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    return bad_url(url, "outgoing.unresolved", fmt::format("its host does not resolve ({})", gai_strerror(error)),
                   "Check the name.");
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    const Address address = TM_TRY(Address::of(*each->ai_addr));
    if (may_reach(address)) continue;
    return bad_url(url, "outgoing.refused_address", fmt::format("its host is {}, which is not public", address.str()),
                   "Let the server reach it with --set 'outgoing.allowed_networks=[\"NETWORK/BITS\"]'.");
  }
  return {};
}

Result<Answer> Client::post(const std::string& url, const Headers& headers, const std::string& body,
                            const std::function<bool()>& stop) const {
  TM_CHECK(checked_host(url));
  const std::unique_ptr<CURL, CloseEasy> easy(curl_easy_init());
  Exchange exchange{*this, static_cast<std::size_t>(options_.answer_bytes_max), stop, {}, {}};
  set_options(easy.get(), options_, url, body);
  set_callbacks(easy.get(), exchange);
  std::unique_ptr<curl_slist, FreeList> lines(curl_slist_append(nullptr, "Expect:"));
  for (const auto& [name, value] : headers) {
    lines.reset(curl_slist_append(lines.release(), fmt::format("{}: {}", name, value).c_str()));
  }
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, lines.get());
  const CURLcode code = curl_easy_perform(easy.get());
  long status = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  const bool cut = code == CURLE_WRITE_ERROR && exchange.answer.body.size() >= exchange.body_max;
  if (code != CURLE_OK && !cut) {
    if (exchange.refused) {
      return fail(Code::kPermissionDenied, "outgoing.refused_address",
                  fmt::format("'{}' is at {}, which is not public.", url.substr(0, 256), exchange.refused->str()),
                  "Let the server reach it with --set 'outgoing.allowed_networks=[\"NETWORK/BITS\"]'.");
    }
    return fail(Code::kUnavailable, "outgoing.failed",
                fmt::format("'{}' could not be reached: {}.", url.substr(0, 256), curl_easy_strerror(code)),
                "See whether it listens and its certificate is good.");
  }
  curl_off_t retry_after_s = 0;
  curl_easy_getinfo(easy.get(), CURLINFO_RETRY_AFTER, &retry_after_s);
  exchange.answer.status = static_cast<int>(status);
  exchange.answer.retry_after_s = retry_after_s;
  return std::move(exchange.answer);
}

}  // namespace tidemill::outgoing
