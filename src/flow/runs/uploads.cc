#include "flow/runs/uploads.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <functional>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/ids.h"

namespace tidemill::runs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = 1u << 20;

std::unexpected<Error> unknown(std::string_view id) {
  return fail(Code::kNotFound, "uploads.unknown", fmt::format("There is no upload '{}'.", id.substr(0, 64)),
              "Begin it again; uploads end with the server's process.", {{"upload", std::string(id.substr(0, 64))}});
}

std::unexpected<Error> bad_parts(std::string message) {
  return fail(Code::kInvalidArgument, "uploads.bad_parts", std::move(message), "Send every part, then complete.");
}

// Reads a file piece by piece into `take`, and returns the digest of its bytes.
Result<std::string> read_through(const fs::path& path, const std::function<Result<void>(std::string_view)>& take) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) return std::unexpected(errno_error("open", path, errno));
  std::string buffer(kChunkBytes, '\0');
  Sha256 hash;
  while (true) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(errno_error("read", path, errno));
    if (count == 0) return to_hex(hash.finish());
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(count));
    hash.update(bytes);
    TM_CHECK(take(bytes));
  }
}

void remove_quietly(const fs::path& path) {
  std::error_code ignored;  // what is left is removed when the next process begins
  fs::remove_all(path, ignored);
}

}  // namespace

Uploads::Uploads(Runs& runs, fs::path folder) : runs_(runs), folder_(std::move(folder)) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().filename().string().starts_with("mpu-")) remove_quietly(entry.path());
  }
}

void Uploads::drop_idle() {
  const std::int64_t oldest_ms = runs_.clock().steady_ms() - runs_.limits().upload_idle_ms_max;
  std::erase_if(uploads_, [&](const auto& item) {
    if (item.second.busy || item.second.touched_ms >= oldest_ms) return false;
    remove_quietly(folder_of(item.first));
    return true;
  });
}

Result<Uploads::Upload*> Uploads::find(const access::Actor& actor, const std::string& id) {
  const auto found = uploads_.find(id);
  if (found == uploads_.end() || found->second.by != actor.name) return unknown(id);
  if (!found->second.busy) return &found->second;
  return fail(Code::kConflict, "uploads.busy", fmt::format("Upload '{}' is being completed.", id), "Wait for it.");
}

Result<std::string> Uploads::begin(const access::Actor& actor, std::string_view path, std::int64_t parts) {
  TM_CHECK(path_beneath("artefacts", path));
  const Limits& limits = runs_.limits();
  if (parts < 1 || parts > limits.upload_parts_max)
    return bad_parts(fmt::format("An upload has 1 to {} parts, not {}.", limits.upload_parts_max, parts));
  const std::lock_guard lock(mutex_);
  drop_idle();
  if (static_cast<std::int64_t>(uploads_.size()) >= limits.uploads_open_max) {
    return fail(Code::kExhausted, "uploads.too_many",
                fmt::format("{} uploads are open, as many as may be.", uploads_.size()), "Complete or abort some.");
  }
  std::string id = generate_hex_id();
  TM_CHECK(make_folder(folder_of(id)));
  uploads_[id] = {std::string(path), actor.name, parts, runs_.clock().steady_ms(), {}, false};
  return id;
}

Result<std::string> Uploads::put_part(const access::Actor& actor, const std::string& id, std::int64_t number,
                                      const fs::path& file) {
  std::string tag = file.empty() ? sha256_hex("") : TM_TRY(read_through(file, [](auto) { return Result<void>(); }));
  const std::lock_guard lock(mutex_);
  Upload* upload = TM_TRY(find(actor, id));
  if (number < 1 || number > upload->parts)
    return bad_parts(fmt::format("Upload '{}' has parts 1 to {}, not {}.", id, upload->parts, number));
  const fs::path place = folder_of(id) / std::to_string(number);
  std::error_code error;
  if (file.empty()) {
    std::ofstream(place, std::ios::trunc).close();
  } else {
    fs::rename(file, place, error);
  }
  if (error) return std::unexpected(errno_error("move", place, error.value()));
  upload->tags[number] = tag;
  upload->touched_ms = runs_.clock().steady_ms();
  return tag;
}

Result<void> Uploads::join(const std::string& id, const Upload& upload, const fs::path& whole) const {
  const FileDescriptor out(::open(whole.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!out.open()) return std::unexpected(errno_error("make", whole, errno));
  for (const auto& [number, tag] : upload.tags) {
    const fs::path part = folder_of(id) / std::to_string(number);
    const auto read =
        TM_TRY(read_through(part, [&](std::string_view bytes) { return write_all(out.get(), bytes, whole); }));
    if (read != tag) return bad_parts(fmt::format("Part {} of upload '{}' is not what arrived.", number, id));
  }
  return {};
}

Result<void> Uploads::complete(const access::Actor& actor, const std::string& id, std::string_view path,
                               const std::vector<UploadPart>& parts) {
  Upload upload;
  {
    const std::lock_guard lock(mutex_);
    Upload* found = TM_TRY(find(actor, id));
    if (found->path != path) return bad_parts(fmt::format("Upload '{}' is one of '{}'.", id, found->path));
    if (std::cmp_not_equal(parts.size(), found->parts) || std::cmp_not_equal(found->tags.size(), found->parts)) {
      return bad_parts(fmt::format("Upload '{}' has {} parts; {} arrived, {} are named.", id, found->parts,
                                   found->tags.size(), parts.size()));
    }
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto at = found->tags.find(parts[i].number);
      const bool fits = at != found->tags.end() && (parts[i].tag.empty() || parts[i].tag == at->second);
      const bool named_before = std::any_of(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(i),
                                            [&](const UploadPart& other) { return other.number == parts[i].number; });
      if (!fits || named_before)
        return bad_parts(fmt::format("Part {} of upload '{}' is not the one that arrived.", parts[i].number, id));
    }
    found->busy = true;
    upload = *found;
  }
  const fs::path whole = folder_of(id) / "whole";
  auto done = join(id, upload, whole);
  if (done) {
    const auto put = runs_.put_artefact(actor, path, whole);
    if (!put) done = std::unexpected(put.error());
  }
  const std::lock_guard lock(mutex_);
  if (!done) {
    uploads_[id].busy = false;
    return done;
  }
  uploads_.erase(id);
  remove_quietly(folder_of(id));
  return {};
}

Result<void> Uploads::abort(const access::Actor& actor, const std::string& id, std::string_view path) {
  const std::lock_guard lock(mutex_);
  const Upload* upload = TM_TRY(find(actor, id));
  if (upload->path != path) return bad_parts(fmt::format("Upload '{}' is one of '{}'.", id, upload->path));
  uploads_.erase(id);
  remove_quietly(folder_of(id));
  return {};
}

}  // namespace tidemill::runs
