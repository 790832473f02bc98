#include "flow/deployments/assignment.h"

#include <xxhash.h>

namespace tidemill::deployments {

std::int64_t assign(const Deployment& deployment, std::string_view prediction_id) {
  if (!deployment.candidate) return deployment.champion;
  const auto& candidate = *deployment.candidate;
  const auto hash =
      XXH3_64bits_withSeed(prediction_id.data(), prediction_id.size(), static_cast<XXH64_hash_t>(candidate.version));
  return hash % 100 < static_cast<XXH64_hash_t>(candidate.percent) ? candidate.version : deployment.champion;
}

}  // namespace tidemill::deployments
