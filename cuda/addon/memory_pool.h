// Device memory that is handed out again without asking the driver.
//
// All work of a device runs on one stream, so memory may be reused as soon as the host frees it: what is enqueued
// later runs later. A graph has a pool of its own, since its replays use its memory at any time; when the graph goes,
// its pool's memory moves to the device's pool.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "common/status.h"

namespace warptile::addon {

class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  // `parent` takes this pool's memory when it is retired; the device's own pool has none.
  explicit MemoryPool(std::shared_ptr<MemoryPool> parent = nullptr) : parent_(std::move(parent)) {}
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // Memory that returns to its pool when the last owner lets go. Aligned to 256 bytes at least.
  class Block {
   public:
    Block(std::shared_ptr<MemoryPool> pool, void* pointer, size_t capacity)
        : pool_(std::move(pool)), pointer_(pointer), capacity_(capacity) {}
    ~Block() { pool_->give_back(pointer_, capacity_); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    void* pointer() const { return pointer_; }
    const MemoryPool* pool() const { return pool_.get(); }

   private:
    std::shared_ptr<MemoryPool> pool_;
    void* pointer_;
    size_t capacity_;
  };

  Status allocate(size_t bytes, std::shared_ptr<Block>* block);
  // From here on, memory given back goes to the parent.
  void retire();
  // Returns cached memory to the driver.
  void trim();
  // Bytes taken from the driver by this pool and the pools below it.
  size_t reserved() const { return parent_ ? parent_->reserved() : reserved_; }

 private:
  void give_back(void* pointer, size_t capacity);
  void count_reserved(int64_t bytes);

  std::shared_ptr<MemoryPool> parent_;
  bool retired_ = false;
  std::multimap<size_t, void*> free_;  // capacity -> memory
  size_t reserved_ = 0;
};

}  // namespace warptile::addon
