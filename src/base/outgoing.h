// The one function that opens outgoing HTTP connections to where a caller, not the operator, said. Whatever name a URL
// has, the address that is really connected to is judged, after its resolution and before the first packet; there is no
// second look-up that could answer otherwise (DNS rebinding). Redirects and proxies of the environment are not
// followed.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/addresses.h"
#include "base/result.h"

namespace tidemill::outgoing {

struct Options {
  using json_defaults = void;
  bool plain_http = false;                      // whether http:// is good enough; otherwise https:// only
  std::vector<std::string> allowed_networks{};  // beside public addresses, such as "10.0.0.0/8"
  std::string ca_file{};                        // further roots of trust, PEM; empty: those of the system
  std::int64_t connect_ms_max = 5'000;
  std::int64_t total_ms_max = 30'000;
  std::int64_t answer_bytes_max = 65'536;  // of a body that is kept; what is longer is cut
};
BOOST_DESCRIBE_STRUCT(Options, (),
                      (plain_http, allowed_networks, ca_file, connect_ms_max, total_ms_max, answer_bytes_max))

struct Answer {
  int status = 0;
  std::string body;                // at most answer_bytes_max
  std::int64_t retry_after_s = 0;  // of Retry-After, 0 = none
};

using Headers = std::vector<std::pair<std::string, std::string>>;

// Constant after construction: any thread.
class Client {
 public:
  // kInvalidArgument for a malformed network in the options.
  [[nodiscard]] static Result<Client> create(Options options);

  // Returns whether `url` may be asked: kInvalidArgument, reason "outgoing.…", for another scheme, no host, credentials
  // in it, an address in a legacy spelling, a host that does not resolve, or one of whose addresses is neither public
  // nor in an allowed network. Resolves the name: never call it on an I/O thread.
  [[nodiscard]] Result<void> check(const std::string& url) const;

  // Sends a POST and returns what came back, whatever its status. The address is checked again as in check, on the very
  // socket that is connected. kPermissionDenied "outgoing.refused_address"; kUnavailable "outgoing.failed" for any
  // failure on the way. Blocks up to total_ms_max; `stop` is asked every second or so and ends it early.
  [[nodiscard]] Result<Answer> post(const std::string& url, const Headers& headers, const std::string& body,
                                    const std::function<bool()>& stop = {}) const;

  // Returns whether an address may be connected to.
  [[nodiscard]] bool may_reach(const Address& address) const;

 private:
  Client(Options options, std::vector<Network> allowed) : options_(std::move(options)), allowed_(std::move(allowed)) {}
  [[nodiscard]] Result<std::string> checked_host(const std::string& url) const;

  Options options_;
  std::vector<Network> allowed_;
};

}  // namespace tidemill::outgoing
