// Pinned host memory between JavaScript's memory and the device, reused once the copy that used it is done.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "common/status.h"

namespace warptile::addon {

class StagingPool {
 public:
  struct Block {
    void* memory = nullptr;
    size_t capacity = 0;
    cudaEvent_t done = nullptr;  // recorded after the copy that uses the block
    bool held = false;           // by a read-back whose bytes have not been delivered
  };

  StagingPool() = default;
  ~StagingPool();
  StagingPool(const StagingPool&) = delete;
  StagingPool& operator=(const StagingPool&) = delete;

  // A block that no copy uses. The caller records `done` after its copy; a held block waits for `release`.
  Status acquire(size_t bytes, bool hold, Block** block);
  // From any thread.
  void release(Block* block);
  // Gives idle blocks back.
  void trim();

 private:
  Status create(size_t bytes, Block** block);
  void destroy_idle();  // under the lock

  std::mutex mutex_;
  std::vector<std::unique_ptr<Block>> blocks_;  // by capacity
  size_t cached_bytes_ = 0;
};

}  // namespace warptile::addon
