#include <fcntl.h>
#include <fmt/format.h>
#include <iconv.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "base/files.h"
#include "flow/datasets/intake.h"

namespace tidemill::datasets {
namespace {

constexpr std::size_t kInBytes = 256 * 1024;
constexpr std::size_t kOutBytes = 4 * kInBytes;  // no character of GB18030 grows more in UTF-8

// A conversion of glibc's iconv, which knows the mapping of GB 18030 with its four-byte forms.
class Converter {
 public:
  explicit Converter(const char* from) : handle_(iconv_open("UTF-8", from)) {}
  Converter(const Converter&) = delete;
  Converter& operator=(const Converter&) = delete;
  ~Converter() {
    if (works()) iconv_close(handle_);
  }
  [[nodiscard]] bool works() const { return handle_ != reinterpret_cast<iconv_t>(-1); }

  // Appends what it can of `in` to `out` and returns how many bytes of it are left; `bad` tells whether the next one is
  // wrong.
  std::size_t run(std::string& in, std::size_t bytes, std::string& out, bool& bad) {
    out.resize(kOutBytes);
    char* from = in.data();
    char* to = out.data();
    std::size_t room = out.size();
    std::size_t left = bytes;
    bad = iconv(handle_, &from, &left, &to, &room) == static_cast<std::size_t>(-1) && errno != EINVAL;
    out.resize(out.size() - room);
    return left;
  }

 private:
  const iconv_t handle_;
};

std::unexpected<Error> wrong_line(std::size_t line) {
  return fail(Code::kInvalidArgument, "csv.not_gb18030", fmt::format("Line {} of the CSV is not GB18030.", line),
              "Say encoding=utf8, or save the file as UTF-8.", {{"line", std::to_string(line)}});
}

Result<void> transcode(int from, int to, const std::filesystem::path& file, const std::filesystem::path& out) {
  Converter converter("GB18030");
  if (!converter.works()) {
    return fail(Code::kUnavailable, "datasets.no_converter", "This system cannot convert GB18030.",
                "Install the conversions of the C library, or send UTF-8.");
  }
  std::string in(kInBytes, '\0');
  std::string converted;
  std::size_t kept = 0;  // bytes of a character whose rest has not been read yet
  std::size_t line = 1;
  while (true) {
    const ssize_t got = ::read(from, in.data() + kept, in.size() - kept);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("read", file, errno));
    if (got == 0) return kept == 0 ? Result<void>() : wrong_line(line);
    const std::size_t bytes = kept + static_cast<std::size_t>(got);
    bool bad = false;
    kept = converter.run(in, bytes, converted, bad);
    line += static_cast<std::size_t>(std::ranges::count(converted, '\n'));
    if (bad) return wrong_line(line);
    std::copy_n(in.data() + bytes - kept, kept, in.data());
    TM_CHECK(write_all(to, converted, out));
  }
}

}  // namespace

Result<std::filesystem::path> as_utf8(const std::filesystem::path& file, Format format, Encoding encoding,
                                      const std::filesystem::path& out) {
  if (format != Format::csv || encoding == Encoding::utf8) return file;
  const FileDescriptor from(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from.open()) return fail(errno_error("open", file, errno));
  const FileDescriptor to(::open(out.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to.open()) return fail(errno_error("create", out, errno));
  TM_CHECK(transcode(from.get(), to.get(), file, out));
  return out;
}

}  // namespace tidemill::datasets
