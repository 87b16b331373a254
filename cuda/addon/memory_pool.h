// Device memory that is handed out again without asking the driver.
//
// All work of a device runs on one stream, so memory may be reused as soon as the host frees it: what is enqueued later runs later.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "common/status.h"

namespace warptile::addon {

class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  // Memory that returns to its pool when the last owner lets go. Aligned to 256 bytes at least.
  class Block {
   public:
    Block(std::shared_ptr<MemoryPool> pool, void* pointer, size_t capacity)
        : pool_(std::move(pool)), pointer_(pointer), capacity_(capacity) {}
    ~Block() { pool_->give_back(pointer_, capacity_); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;
    void* pointer() const { return pointer_; }
    size_t capacity() const { return capacity_; }
    const MemoryPool* pool() const { return pool_.get(); }

   private:
    std::shared_ptr<MemoryPool> pool_;
    void* pointer_;
    size_t capacity_;
  };

  MemoryPool() = default;
  virtual ~MemoryPool() = default;
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  virtual Status allocate(size_t bytes, std::shared_ptr<Block>* block) = 0;

 private:
  virtual void give_back(void* pointer, size_t capacity) = 0;
};

// The memory of a device. Asking the driver takes 30 us and more for a megabyte (H200), and so blocks of up to 64 MiB are pieces of slabs:
// the smallest free piece that is large enough, cut to size; pieces that were given back join their free neighbours. Larger blocks are
// asked for one by one. What is free is kept until the driver has no more. With the environment variable WARPTILE_EXACT_ALLOCATIONS=1
// all are asked for, to the byte, so that compute-sanitizer sees where each ends.
class DevicePool final : public MemoryPool {
 public:
  // Slabs are small beside the `limit` of bytes that may be used.
  explicit DevicePool(size_t limit);
  ~DevicePool() override;
  Status allocate(size_t bytes, std::shared_ptr<Block>* block) override;
  // Returns slabs to the driver of which nothing is in use.
  void trim();
  // Bytes taken from the driver.
  size_t reserved() const { return reserved_; }

 private:
  enum Kind { kSmall, kMiddle, kWide, kLarge, kKinds };
  struct Piece {
    size_t bytes = 0;
    char* slab = nullptr;
    Kind kind = kLarge;
    bool free = false;
  };
  using Pieces = std::map<char*, Piece>;

  void give_back(void* pointer, size_t capacity) override;
  Kind kind_of(size_t bytes) const;
  Status reserve(Kind kind, size_t bytes, char** slab);
  void cut(Pieces::iterator piece, size_t bytes);
  void add_free(Pieces::iterator piece);
  void remove_free(Pieces::iterator piece);

  const bool exact_;
  const size_t most_slab_;
  Pieces pieces_;                    // of all slabs, without gaps
  std::map<char*, size_t> slabs_;    // bytes
  std::array<std::set<std::pair<size_t, char*>>, kKinds> free_;
  size_t reserved_ = 0;
};

// The memory of a graph, whose replays use it at any time: blocks of the device's pool, which go back to that when the graph is gone and
// nothing else uses them.
class GraphPool final : public MemoryPool {
 public:
  explicit GraphPool(std::shared_ptr<MemoryPool> device) : device_(std::move(device)) {}
  Status allocate(size_t bytes, std::shared_ptr<Block>* block) override;
  // From here on, memory given back goes to the device's pool.
  void retire();

 private:
  void give_back(void* pointer, size_t capacity) override;

  std::shared_ptr<MemoryPool> device_;
  bool retired_ = false;
  std::map<void*, std::shared_ptr<Block>> held_;
  std::multimap<size_t, void*> free_;  // capacity -> memory
};

}  // namespace warptile::addon
