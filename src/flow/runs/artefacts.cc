// Files by path. The bytes are blobs; here stands only which path shows which blob, so copies of a file cost a row.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "flow/runs/checks.h"
#include "flow/runs/runs.h"

namespace tidemill::runs {
namespace {

// Above every character that may follow '/' in a path, and every first one.
constexpr std::string_view kAfterSlash = "0";
constexpr std::string_view kHighest = "\xF4\x8F\xBF\xBF";
constexpr std::string_view kLowestFollowing = "\x01";  // paths hold no control characters

constexpr sql::Query kPut{
    "artefacts.put",
    "INSERT INTO artefacts (path, blob, bytes, made_by, made_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (path) DO UPDATE SET blob = excluded.blob, bytes = excluded.bytes, made_by = excluded.made_by,"
    " made_ms = excluded.made_ms"};
constexpr sql::Query kGet{"artefacts.get", "SELECT path, blob, bytes FROM artefacts WHERE path = ?1"};
constexpr sql::Query kNext{
    "artefacts.next", "SELECT path, blob, bytes FROM artefacts WHERE path >= ?1 AND path < ?2 ORDER BY path LIMIT 1"};
constexpr sql::Query kBeneath{"artefacts.beneath",
                              "SELECT path, blob, bytes FROM artefacts WHERE path >= ?1 AND path < ?2 ORDER BY path"
                              " LIMIT ?3"};
constexpr sql::Query kDelete{"artefacts.delete", "DELETE FROM artefacts WHERE path = ?1 OR (path >= ?2 AND path < ?3)"};

Artefact read_artefact(const sql::Row& row) {
  return {row.string(0), row.string(1), static_cast<std::uint64_t>(row.integer(2))};
}

// What a folder's paths begin with, and the first text after all of them.
struct Range {
  std::string prefix;
  std::string end;
};

Range range_of(std::string_view folder) {
  if (folder.empty()) return {"", std::string(kHighest)};
  return {std::string(folder) + "/", std::string(folder) + std::string(kAfterSlash)};
}

// No file of ours lies at these paths, but they are made by the same rules as those that do.
Result<void> check_path(std::string_view path) {
  TM_CHECK(path_beneath("artefacts", path));
  return {};
}

Result<void> check_free(sql::Tx& tx, std::string_view path) {
  const auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, "artefacts.path_taken", fmt::format("'{}' cannot be a file: {}.", path, why),
                "Choose another path.", {{"path", std::string(path)}});
  };
  const Range inside = range_of(path);
  if (TM_TRY(tx.one<Artefact>(kNext, read_artefact, inside.prefix, inside.end))) return refuse("it is a folder");
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1)) {
    const std::string_view parent = path.substr(0, slash);
    if (TM_TRY(tx.one<Artefact>(kGet, read_artefact, parent))) return refuse(fmt::format("'{}' is a file", parent));
  }
  return {};
}

std::unexpected<Error> unknown(std::string_view path) {
  return fail(Code::kNotFound, "artefacts.unknown", fmt::format("No such artifact: '{}'.", path), "List the folder.",
              {{"path", std::string(path)}});
}

}  // namespace

std::string artefact_folder(const RunInfo& run) {
  return fmt::format("{}/{}/artifacts", run.experiment.number(), run.id.str());
}

std::string artefact_folder(const LoggedModel& model) {
  return fmt::format("{}/models/{}/artifacts", model.experiment.number(), model.id.str());
}

Result<Artefact> Runs::put_artefact(const access::Actor& actor, std::string_view path,
                                    const std::filesystem::path& file) {
  TM_CHECK(check_path(path));
  const blobs::Stored stored = TM_TRY(blobs_.put_file(file));
  return database_.write([&](sql::Tx& tx) -> Result<Artefact> {
    TM_CHECK(check_free(tx, path));
    TM_CHECK(tx.exec(kPut, path, stored.id.str(), stored.bytes, actor.name, clock_.now_ms()));
    return Artefact{std::string(path), stored.id.str(), stored.bytes};
  });
}

Result<Artefact> Runs::artefact(sql::Tx& tx, std::string_view path) {
  TM_CHECK(check_path(path));
  auto found = TM_TRY(tx.one<Artefact>(kGet, read_artefact, path));
  if (!found) return unknown(path);
  return *std::move(found);
}

Result<std::vector<Entry>> Runs::entries(sql::Tx& tx, std::string_view folder) {
  if (!folder.empty()) TM_CHECK(check_path(folder));
  const Range range = range_of(folder);
  std::vector<Entry> entries;
  std::string from = range.prefix;
  // One look-up for each entry: beneath a folder among them nothing is read, however much there is.
  while (auto next = TM_TRY(tx.one<Artefact>(kNext, read_artefact, from, range.end))) {
    if (static_cast<std::int64_t>(entries.size()) >= limits_.listed_max) {
      return fail(Code::kTooLarge, "artefacts.folder_too_large",
                  fmt::format("'{}' has more than {} entries.", folder, limits_.listed_max),
                  "List its folders one by one.");
    }
    const std::string_view rest = std::string_view(next->path).substr(range.prefix.size());
    const std::size_t slash = rest.find('/');
    if (slash == std::string_view::npos) {
      entries.push_back({std::string(rest), false, next->bytes});
      from = next->path + std::string(kLowestFollowing);
    } else {
      const std::string name(rest.substr(0, slash));
      entries.push_back({name, true, 0});
      from = range.prefix + name + std::string(kAfterSlash);
    }
  }
  std::ranges::sort(entries, {}, &Entry::name);
  return entries;
}

Result<std::vector<Artefact>> Runs::artefacts(sql::Tx& tx, std::string_view folder) {
  TM_CHECK(check_path(folder));
  const Range range = range_of(folder);
  auto files = TM_TRY(tx.all<Artefact>(kBeneath, read_artefact, range.prefix, range.end, limits_.listed_max + 1));
  if (static_cast<std::int64_t>(files.size()) <= limits_.listed_max) return files;
  return fail(Code::kTooLarge, "artefacts.folder_too_large",
              fmt::format("'{}' has more than {} files.", folder, limits_.listed_max), "Take its folders one by one.");
}

Result<void> Runs::delete_artefacts(const access::Actor&, std::string_view path) {
  TM_CHECK(check_path(path));
  const Range range = range_of(path);
  return database_.write([&](sql::Tx& tx) -> Result<void> {
    if (TM_TRY(tx.exec(kDelete, path, range.prefix, range.end)) == 0) return unknown(path);
    return {};
  });
}

}  // namespace tidemill::runs
