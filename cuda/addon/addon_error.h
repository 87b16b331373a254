// What the addon's C++ throws. Plain C++, so that argument checks are tested without CUDA or Node.
#pragma once

#include <stdexcept>
#include <string>

namespace warptile::addon {

class AddonError : public std::runtime_error {
 public:
  // `code` is a WarptileErrorCode of lib/errors.ts, a literal.
  AddonError(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;
};

}  // namespace warptile::addon
