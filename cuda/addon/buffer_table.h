// Buffers by number, as a command names them.
#pragma once

#include <cstdint>

namespace warptile::addon {

class BufferTable {
 public:
  // The address of `bytes` bytes at `offset` of buffer `id`; throws AddonError where there is no such live buffer or it does
  // not hold them.
  virtual void* resolve(double id, int64_t offset, int64_t bytes, const char* name) = 0;

 protected:
  ~BufferTable() = default;
};

}  // namespace warptile::addon
