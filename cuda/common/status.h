// Outcome of a call into the kernel library. No exceptions below the addon: kernels are used from plain C++ too.
#pragma once

#include <cuda_runtime_api.h>

#include <string>
#include <utility>

namespace warptile {

enum class StatusCode {
  kOk,
  kInvalidArgument,  // a Params struct that contradicts itself: a bug in the caller
  kUnsupported,      // valid, but this device or build has no kernel for it
  kLimit,            // past a grid, index or shared-memory limit
  kOutOfMemory,
  kCuda,        // CUDA reported an error and the context lives
  kDeviceLost,  // CUDA reported a sticky error: every later call in this process fails
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  static Status ok() { return {}; }
  static Status invalid(std::string message) { return {StatusCode::kInvalidArgument, std::move(message)}; }
  static Status unsupported(std::string message) { return {StatusCode::kUnsupported, std::move(message)}; }
  static Status limit(std::string message) { return {StatusCode::kLimit, std::move(message)}; }

  // `what` names the CUDA call. Clears the runtime's last error, so that it is reported once.
  static Status from_cuda(cudaError_t error, const char* what);

  bool is_ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

#define WARPTILE_RETURN_IF_ERROR(expression)                    \
  do {                                                          \
    ::warptile::Status warptile_status_ = (expression);         \
    if (!warptile_status_.is_ok()) return warptile_status_;     \
  } while (false)

#define WARPTILE_CUDA(call) WARPTILE_RETURN_IF_ERROR(::warptile::Status::from_cuda((call), #call))

}  // namespace warptile
