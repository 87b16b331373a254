// Scratch memory of a product of sizes, which is checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "common/checked.h"
#include "common/context.h"

namespace warptile {

// `sizes` are elements but for one, the bytes of an element. `name` is the operation's, for the error.
template <typename T>
Status allocate_workspace(const LaunchContext& context, const char* name, std::initializer_list<int64_t> sizes, T** pointer) {
  const auto bytes = checked_product(sizes);
  if (!bytes) return Status::limit(std::string(name) + ": the workspace has more bytes than 64 bits count");
  void* memory = nullptr;
  WARPTILE_RETURN_IF_ERROR(context.workspace->allocate(static_cast<size_t>(*bytes), &memory));
  *pointer = static_cast<T*>(memory);
  return Status::ok();
}

}  // namespace warptile
