#include "flow/predictions/ledger.h"

#include <xxhash.h>

#include <algorithm>

namespace tidemill::predictions {
namespace {

Batch rows_of(const Batch& batch, const std::vector<std::size_t>& rows) {
  Batch out;
  out.deployment = batch.deployment;
  out.model = batch.model;
  out.version = batch.version;
  out.role = batch.role;
  out.logged_ms = batch.logged_ms;
  out.width = batch.width;
  for (const std::size_t i : rows) {
    out.ids.push_back(batch.ids[i]);
    out.at_ms.push_back(batch.at_ms[i]);
    out.scores.push_back(batch.scores[i]);
    const auto begin = batch.features.begin() + static_cast<std::ptrdiff_t>(i * batch.width);
    out.features.insert(out.features.end(), begin, begin + static_cast<std::ptrdiff_t>(batch.width));
  }
  return out;
}

}  // namespace

IdKey key_of(std::string_view id) {
  const XXH128_hash_t hash = XXH3_128bits(id.data(), id.size());
  return {hash.high64, hash.low64};
}

bool Ledger::enter(Book& book, std::string_view id, std::int64_t version, Role role, std::int64_t at_ms) {
  const IdKey key = key_of(id);
  const bool is_new = role == Role::shadow ? book.shadowed[version].insert(key).second
                                           : book.served.try_emplace(key, Served{at_ms, version, role}).second;
  if (!is_new) return false;
  const bool is_labelled = book.labels.contains(key);
  VersionCount& count = book.counts.try_emplace({version, role}, VersionCount{version, role, 0, 0}).first->second;
  count.rows += 1;
  count.labelled += is_labelled ? 1 : 0;
  if (role == Role::shadow) return true;
  book.labelled += is_labelled ? 1 : 0;
  book.first_ms = book.first_ms == 0 ? at_ms : std::min(book.first_ms, at_ms);
  book.watermark_ms = std::max(book.watermark_ms, at_ms);
  return true;
}

void Ledger::add(std::uint64_t file, Batch batch) {
  const std::lock_guard lock(mutex_);
  Book& book = books_[batch.deployment];
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < batch.ids.size(); ++i) {
    if (enter(book, batch.ids[i], batch.version, batch.role, batch.at_ms[i])) kept.push_back(i);
  }
  if (kept.empty()) return;
  if (kept.size() < batch.ids.size()) batch = rows_of(batch, kept);
  files_[file].batches.push_back(std::make_shared<const Batch>(std::move(batch)));
}

void Ledger::add_sealed(const std::string& deployment, std::string_view id, std::int64_t version, Role role,
                        std::int64_t at_ms) {
  const std::lock_guard lock(mutex_);
  enter(books_[deployment], id, version, role, at_ms);
}

void Ledger::add(const LabelBatch& labels) {
  const std::lock_guard lock(mutex_);
  Book& book = books_[labels.deployment];
  book.watermark_ms = std::max(book.watermark_ms, labels.until_ms);
  for (const auto& label : labels.labels) {
    const IdKey key = key_of(label.id);
    const bool is_new = book.labels.insert_or_assign(key, static_cast<std::int8_t>(label.label)).second;
    const auto served = book.served.find(key);
    if (!is_new || served == book.served.end()) continue;
    book.labelled += 1;
    book.counts[{served->second.version, served->second.role}].labelled += 1;
    for (const auto& [version, ids] : book.shadowed) {
      if (ids.contains(key)) book.counts[{version, Role::shadow}].labelled += 1;
    }
  }
}

void Ledger::keep_labels(std::uint64_t file, const LabelBatch& labels) {
  const std::lock_guard lock(mutex_);
  files_[file].labels.push_back(labels);
}

bool Ledger::has(const std::string& deployment, std::string_view id) const { return at_ms(deployment, id).has_value(); }

std::optional<std::int64_t> Ledger::at_ms(const std::string& deployment, std::string_view id) const {
  const std::lock_guard lock(mutex_);
  const auto book = books_.find(deployment);
  if (book == books_.end()) return std::nullopt;
  const auto found = book->second.served.find(key_of(id));
  return found == book->second.served.end() ? std::nullopt : std::optional(found->second.at_ms);
}

std::optional<std::int64_t> Ledger::label(const std::string& deployment, std::string_view id) const {
  const auto found = labels(deployment, {std::string(id)}).front();
  return found < 0 ? std::nullopt : std::optional<std::int64_t>(found);
}

std::vector<std::int8_t> Ledger::labels(const std::string& deployment, const std::vector<std::string>& ids) const {
  std::vector<std::int8_t> out(ids.size(), -1);
  const std::lock_guard lock(mutex_);
  const auto book = books_.find(deployment);
  if (book == books_.end()) return out;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto found = book->second.labels.find(key_of(ids[i]));
    if (found != book->second.labels.end()) out[i] = found->second;
  }
  return out;
}

Stats Ledger::stats(const std::string& deployment) const {
  Stats stats;
  stats.deployment = deployment;
  const std::lock_guard lock(mutex_);
  const auto book = books_.find(deployment);
  if (book == books_.end()) return stats;
  stats.rows = static_cast<std::int64_t>(book->second.served.size());
  stats.labelled = book->second.labelled;
  stats.labels = static_cast<std::int64_t>(book->second.labels.size());
  stats.first_ms = book->second.first_ms;
  stats.watermark_ms = book->second.watermark_ms;
  for (const auto& [key, count] : book->second.counts) stats.versions.push_back(count);
  return stats;
}

std::vector<std::string> Ledger::deployments() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, book] : books_) names.push_back(name);
  return names;
}

std::vector<std::shared_ptr<const Batch>> Ledger::open_batches(const std::string& deployment) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const Batch>> batches;
  for (const auto& [number, content] : files_) {
    for (const auto& batch : content.batches) {
      if (batch->deployment == deployment) batches.push_back(batch);
    }
  }
  return batches;
}

Ledger::FileContent Ledger::content(std::uint64_t file) const {
  const std::lock_guard lock(mutex_);
  const auto found = files_.find(file);
  return found == files_.end() ? FileContent{} : found->second;
}

void Ledger::drop(std::uint64_t file) {
  const std::lock_guard lock(mutex_);
  files_.erase(file);
}

}  // namespace tidemill::predictions
