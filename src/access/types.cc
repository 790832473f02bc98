#include "access/types.h"

#include <algorithm>

namespace tidemill::access {

bool grants(Role role, Right right) {
  if (right == Right::open) return true;
  switch (role) {
    case Role::viewer:
      return right == Right::read;
    case Role::modeller:
    case Role::service:
      return right == Right::read || right == Right::write || right == Right::predict;
    case Role::approver:
      return right == Right::read || right == Right::predict || right == Right::approve;
    case Role::admin:
      return true;
  }
  return false;
}

bool Actor::has(Right right) const {
  return right == Right::open || std::ranges::any_of(roles, [&](Role role) { return grants(role, right); });
}

Actor system_actor() { return {"system", {Role::service}}; }
Actor local_actor() { return {"local", {Role::admin}}; }
Actor visitor_actor() { return {"visitor", {Role::viewer}}; }

}  // namespace tidemill::access
