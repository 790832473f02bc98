#include "runtimes/runtime.h"

#include <utility>

#include "base/files.h"
#include "runtimes/library.h"
#include "runtimes/onnx_file.h"
#include "runtimes/session.h"

namespace tidemill::runtimes {

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

const std::vector<TensorInfo>& Session::inputs() const { return impl_->inputs_; }
const std::vector<TensorInfo>& Session::outputs() const { return impl_->outputs_; }
Result<std::vector<Tensor>> Session::run(std::span<const TensorView> inputs) const { return impl_->run(inputs); }
const Result<ScoreRule>& Session::score_rule() const { return impl_->rule_; }
std::int64_t Session::columns() const { return impl_->columns_; }
Result<void> Session::score(std::span<const float> matrix, std::int64_t columns, std::span<double> scores) const {
  return impl_->score(matrix, columns, scores);
}
Result<void> Session::score(std::span<const double> matrix, std::int64_t columns, std::span<double> scores) const {
  return impl_->score(matrix, columns, scores);
}

Runtime::Runtime(std::shared_ptr<const Library> library) : library_(std::move(library)) {}
Runtime::~Runtime() = default;

Result<std::shared_ptr<Runtime>> Runtime::create(const std::filesystem::path& library) {
  auto opened = TM_TRY(Library::open(library));  // before `new`, whose memory an early return would leak
  return std::shared_ptr<Runtime>(new Runtime(std::move(opened)));
}

Result<std::shared_ptr<const Session>> Runtime::load(const std::filesystem::path& file,
                                                     const LoadOptions& options) const {
  const FileLimits limits;
  const std::string bytes = TM_TRY(read_file(file, limits.file_bytes_max));
  TM_TRY(inspect_onnx_bytes(bytes, limits));  // the file may have been changed since it was accepted
  auto loaded = TM_TRY(Session::Impl::create(library_, bytes, options));  // before `new`, as above
  return std::shared_ptr<const Session>(new Session(std::move(loaded)));
}

const std::string& Runtime::version() const { return library_->version(); }
const std::filesystem::path& Runtime::library() const { return library_->file(); }

}  // namespace tidemill::runtimes
