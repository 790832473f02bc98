// The one function that lets a request pass or not.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/access.h"
#include "api/http/message.h"
#include "api/http/route.h"

namespace tidemill::http {

struct GuardOptions {
  bool loopback = true;              // the server listens on a loopback address
  bool anonymous_read = false;       // on loopback, let whoever does not sign in read
  std::vector<std::string> names{};  // further Host names that this server answers to, such as "mill.example"
};

// Constant after construction: any thread.
class Guard {
 public:
  Guard(access::Access& access, GuardOptions options) : access_(access), options_(std::move(options)) {}

  // Returns who asks, or why they may not: kInvalidArgument for a Host that is not ours (DNS rebinding),
  // kPermissionDenied for a state-changing request from another site's page (CSRF) or a missing right, kUnauthenticated
  // for missing or wrong credentials.
  [[nodiscard]] Result<access::Actor> check(const Request& request, access::Right right) const;

  // The same where it takes no more than microseconds; nothing when a password has to be hashed or the database asked,
  // which is no work for an I/O thread.
  [[nodiscard]] std::optional<Result<access::Actor>> check_now(const Request& request, access::Right right) const;

 private:
  [[nodiscard]] Result<void> check_host(const Request& request) const;
  [[nodiscard]] static Result<void> check_origin(const Request& request);
  [[nodiscard]] Result<access::Actor> unsigned_actor(access::Right right) const;

  access::Access& access_;
  const GuardOptions options_;
};

}  // namespace tidemill::http
