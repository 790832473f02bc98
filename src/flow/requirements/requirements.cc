#include "flow/requirements/requirements.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/json.h"
#include "flow/requirements/events.h"
#include "flow/requirements/metrics.h"
#include "flow/requirements/schema.sql.h"

namespace tidemill::requirements {
namespace {

constexpr sql::Query kAdd{"requirements.add",
                          "INSERT INTO requirements (name, revision, state) VALUES (?1, 1, 'active')"};
constexpr sql::Query kAddRevision{
    "requirements.add_revision",
    "INSERT INTO requirement_revisions (name, revision, content, made_by, made_ms) VALUES (?1, ?2, ?3, ?4, ?5)"};
constexpr sql::Query kAdvance{"requirements.advance", "UPDATE requirements SET revision = ?2 WHERE name = ?1"};
constexpr sql::Query kRetire{"requirements.retire", "UPDATE requirements SET state = 'retired' WHERE name = ?1"};
constexpr sql::Query kGet{
    "requirements.get",
    "SELECT r.name, v.revision, r.revision, r.state, v.content, v.made_by, v.made_ms FROM requirements r"
    " JOIN requirement_revisions v ON v.name = r.name AND v.revision = r.revision WHERE r.name = ?1"};
constexpr sql::Query kRevisions{
    "requirements.revisions",
    "SELECT r.name, v.revision, r.revision, r.state, v.content, v.made_by, v.made_ms FROM requirements r"
    " JOIN requirement_revisions v ON v.name = r.name WHERE r.name = ?1 ORDER BY v.revision DESC"};
constexpr sql::Query kList{
    "requirements.list",
    "SELECT r.name, v.revision, r.revision, r.state, v.content, v.made_by, v.made_ms FROM requirements r"
    " JOIN requirement_revisions v ON v.name = r.name AND v.revision = r.revision ORDER BY r.name"};

struct Stored {
  Requirement requirement;
  std::string content;
};

Stored read_stored(const sql::Row& row) {
  Stored stored;
  Requirement& requirement = stored.requirement;
  requirement.name = row.string(0);
  requirement.revision = row.integer(1);
  const bool newest = requirement.revision == row.integer(2);
  requirement.state = newest ? row.enumerator<State>(3) : State::superseded;
  stored.content = row.string(4);
  requirement.made_by = row.string(5);
  requirement.made_ms = row.integer(6);
  return stored;
}

Result<Requirement> unpack(Stored stored) {
  NewRequirement content = TM_TRY(json::decode<NewRequirement>(stored.content));
  Requirement& out = stored.requirement;
  out.goal = std::move(content.goal);
  out.owner = std::move(content.owner);
  out.fallback = std::move(content.fallback);
  out.task = content.task;
  out.threshold = content.threshold;
  out.rules = std::move(content.rules);
  return out;
}

Result<std::vector<Requirement>> unpack(std::vector<Stored> stored) {
  std::vector<Requirement> out;
  for (Stored& one : stored) out.push_back(TM_TRY(unpack(std::move(one))));
  return out;
}

std::unexpected<Error> unknown(std::string_view name) {
  return fail(Code::kNotFound, "requirements.unknown",
              fmt::format("There is no requirement '{}'.", name.substr(0, 128)), "GET /api/requirements lists them.");
}

std::unexpected<Error> bad(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "requirements.invalid", std::move(message), std::move(remedy));
}

Result<void> check_rule(const Rule& rule, std::size_t index) {
  const Metric* metric = find_metric(rule.metric);
  if (metric == nullptr) {
    std::string names;
    for (const Metric& known : known_metrics()) names += (names.empty() ? "" : ", ") + std::string(known.name);
    return bad(fmt::format("rules[{}].metric is '{}', which is no metric.", index, rule.metric.substr(0, 128)),
               fmt::format("Use one of {}.", names));
  }
  static constexpr std::array<std::string_view, 4> kOperators = {">=", ">", "<=", "<"};
  if (std::find(kOperators.begin(), kOperators.end(), rule.op) == kOperators.end()) {
    return bad(fmt::format("rules[{}].op is '{}'.", index, rule.op.substr(0, 16)), "Use one of >=, >, <=, <.");
  }
  const bool lower_limit = rule.op.front() == '>';
  if (!std::isfinite(rule.value) || rule.value < metric->low || rule.value > metric->high) {
    return bad(fmt::format("rules[{}]: {} {} {:g} cannot be judged, {} lies in {:g}..{:g}.", index, rule.metric,
                           rule.op, rule.value, rule.metric, metric->low, metric->high),
               "Give a limit that the metric can take.");
  }
  if (lower_limit != (metric->better == Better::higher)) {
    return bad(fmt::format("rules[{}]: {} {} {:g} would ask for a worse model, since {} is better when {}.", index,
                           rule.metric, rule.op, rule.value, rule.metric,
                           metric->better == Better::higher ? "higher" : "lower"),
               "Turn the operator round.");
  }
  return {};
}

Result<void> check(const NewRequirement& requirement) {
  TM_TRY(check_name("requirement", requirement.name));
  if (requirement.name == "metrics") {
    return bad("A requirement cannot be named 'metrics'.",
               "GET /api/requirements/metrics is taken: choose another name.");
  }
  for (const auto& [field, text] : {std::pair("goal", &requirement.goal), {"owner", &requirement.owner}}) {
    if (text->empty())
      return bad(fmt::format("The requirement has no {}.", field), fmt::format("Say the {} in words.", field));
  }
  for (const std::string* text : {&requirement.goal, &requirement.owner, &requirement.fallback}) {
    if (text->size() > kTextBytesMax) {
      return fail(Code::kTooLarge, "requirements.text_too_long",
                  fmt::format("A text of the requirement has {} bytes, more than {}.", text->size(), kTextBytesMax),
                  "Shorten goal, owner and fallback.");
    }
  }
  if (requirement.rules.empty()) return bad("The requirement has no rules.", "Give at least one, such as auc >= 0.7.");
  if (requirement.rules.size() > kRulesMax) {
    return fail(Code::kTooLarge, "requirements.too_many_rules",
                fmt::format("The requirement has {} rules, more than {}.", requirement.rules.size(), kRulesMax),
                "Split it into several requirements.");
  }
  if (!(requirement.threshold >= 0 && requirement.threshold <= 1)) {
    return bad(fmt::format("threshold is {:g}.", requirement.threshold), "Give a probability between 0 and 1.");
  }
  for (std::size_t i = 0; i < requirement.rules.size(); ++i) TM_CHECK(check_rule(requirement.rules[i], i));
  return {};
}

std::string subject(std::string_view name, std::int64_t revision) {
  return fmt::format("requirements/{}/{}", name, revision);
}

}  // namespace

Result<std::unique_ptr<Requirements>> Requirements::create(sql::Database& database, events::Events& events,
                                                           const Clock& clock) {
  TM_CHECK(database.migrate("requirements", kSchemaSql));
  return std::unique_ptr<Requirements>(new Requirements(database, events, clock));
}

Result<Requirement> Requirements::add(const access::Actor& actor, const NewRequirement& requirement) {
  return database_.write([&](sql::Tx& tx) { return add(tx, actor, requirement); });
}

Result<Requirement> Requirements::add(sql::Tx& tx, const access::Actor& actor, const NewRequirement& requirement) {
  TM_CHECK(check(requirement));
  if (auto added = tx.exec(kAdd, requirement.name); !added) {
    if (added.error().code != Code::kAlreadyExists) return std::unexpected(added.error());
    return fail(Code::kAlreadyExists, "requirements.exists",
                fmt::format("Requirement '{}' exists already.", requirement.name),
                "PUT /api/requirements/{name} makes a new revision of it.");
  }
  TM_CHECK(tx.exec(kAddRevision, requirement.name, 1, json::encode(requirement), actor.name, clock_.now_ms()));
  const Requirement added = TM_TRY(get(tx, requirement.name));
  TM_CHECK(events_.append(
      tx, {std::string(events_of::kCreated), subject(added.name, 1), actor.name, json::to_json(added).as_object()}));
  return added;
}

Result<Requirement> Requirements::revise(const access::Actor& actor, const NewRequirement& requirement,
                                         std::optional<std::int64_t> if_revision) {
  TM_CHECK(check(requirement));
  return database_.write([&](sql::Tx& tx) -> Result<Requirement> {
    const Requirement before = TM_TRY(get(tx, requirement.name));
    if (if_revision && *if_revision != before.revision) {
      return fail(
          Code::kConflict, "requirements.revised",
          fmt::format("Requirement '{}' is at revision {}, not {}.", before.name, before.revision, *if_revision),
          "Read it again, and revise what stands there now.");
    }
    if (before.state == State::retired) {
      return fail(Code::kFailedPrecondition, "requirements.retired",
                  fmt::format("Requirement '{}' is retired.", before.name), "Record a new one under another name.");
    }
    const std::int64_t revision = before.revision + 1;
    TM_CHECK(tx.exec(kAddRevision, before.name, revision, json::encode(requirement), actor.name, clock_.now_ms()));
    TM_CHECK(tx.exec(kAdvance, before.name, revision));
    const Requirement after = TM_TRY(get(tx, before.name));
    json::Object payload = json::to_json(after).as_object();
    payload["before"] = json::to_json(before);
    TM_CHECK(
        events_.append(tx, {std::string(events_of::kRevised), subject(after.name, revision), actor.name, payload}));
    return after;
  });
}

Result<Requirement> Requirements::retire(const access::Actor& actor, std::string_view name, std::string_view reason) {
  if (reason.empty()) return bad("No reason is given.", "Say why the requirement ends.");
  return database_.write([&](sql::Tx& tx) -> Result<Requirement> {
    const Requirement before = TM_TRY(get(tx, name));
    if (before.state == State::retired) return before;
    TM_CHECK(tx.exec(kRetire, name));
    TM_CHECK(events_.append(tx, {std::string(events_of::kRetired), subject(name, before.revision), actor.name,
                                 json::Object{{"reason", reason.substr(0, kTextBytesMax)}}}));
    return get(tx, name);
  });
}

Result<Requirement> Requirements::get(std::string_view name) {
  return database_.read([&](sql::Tx& tx) { return get(tx, name); });
}

Result<Requirement> Requirements::get(sql::Tx& tx, std::string_view name) {
  auto stored = TM_TRY(tx.one<Stored>(kGet, read_stored, name));
  if (!stored) return unknown(name);
  return unpack(*std::move(stored));
}

Result<Requirement> Requirements::active(std::string_view name) {
  Requirement requirement = TM_TRY(get(name));
  if (requirement.state == State::active) return requirement;
  return fail(Code::kFailedPrecondition, "requirements.retired", fmt::format("Requirement '{}' is retired.", name),
              "Name a requirement that is in force.");
}

Result<std::vector<Requirement>> Requirements::revisions(std::string_view name) {
  auto stored = TM_TRY(database_.read([&](sql::Tx& tx) { return tx.all<Stored>(kRevisions, read_stored, name); }));
  if (stored.empty()) return unknown(name);
  return unpack(std::move(stored));
}

Result<std::vector<Requirement>> Requirements::list() {
  return unpack(TM_TRY(database_.read([&](sql::Tx& tx) { return tx.all<Stored>(kList, read_stored); })));
}

}  // namespace tidemill::requirements
