#include "addon/memory_pool.h"

#include <cuda_runtime_api.h>

#include <limits>

namespace warptile::addon {
namespace {

constexpr size_t kSmallGranularity = 512;
constexpr size_t kLargeGranularity = size_t{2} << 20;
constexpr size_t kSmallLimit = size_t{1} << 20;

size_t rounded(size_t bytes) {
  const size_t granularity = bytes < kSmallLimit ? kSmallGranularity : kLargeGranularity;
  return (bytes + granularity - 1) / granularity * granularity;
}

// A cached block serves a request if at most a quarter of it, or one granule, is wasted.
size_t largest_fit(size_t capacity) {
  return capacity + (capacity < kSmallLimit ? capacity / 4 + kSmallGranularity : capacity / 4);
}

}  // namespace

MemoryPool::~MemoryPool() {
  if (!parent_) trim();
}

Status MemoryPool::allocate(size_t bytes, std::shared_ptr<Block>* block) {
  if (bytes > std::numeric_limits<size_t>::max() / 2) {
    return {StatusCode::kOutOfMemory, "allocation of " + std::to_string(bytes) + " bytes"};
  }
  const size_t capacity = rounded(bytes == 0 ? 1 : bytes);
  auto cached = free_.lower_bound(capacity);
  if (cached != free_.end() && cached->first <= largest_fit(capacity)) {
    *block = std::make_shared<Block>(shared_from_this(), cached->second, cached->first);
    free_.erase(cached);
    return Status::ok();
  }
  void* pointer = nullptr;
  cudaError_t error = cudaMalloc(&pointer, capacity);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    (parent_ ? parent_.get() : this)->trim();
    error = cudaMalloc(&pointer, capacity);
  }
  WARPTILE_RETURN_IF_ERROR(Status::from_cuda(error, "cudaMalloc"));
  count_reserved(static_cast<int64_t>(capacity));
  *block = std::make_shared<Block>(shared_from_this(), pointer, capacity);
  return Status::ok();
}

void MemoryPool::retire() {
  retired_ = true;
  for (const auto& [capacity, pointer] : free_) parent_->give_back(pointer, capacity);
  free_.clear();
}

void MemoryPool::trim() {
  for (const auto& [capacity, pointer] : free_) {
    // After a sticky error nothing can be freed; the driver takes the memory back with the process.
    if (cudaFree(pointer) != cudaSuccess) cudaGetLastError();
    count_reserved(-static_cast<int64_t>(capacity));
  }
  free_.clear();
}

void MemoryPool::give_back(void* pointer, size_t capacity) {
  if (retired_) {
    parent_->give_back(pointer, capacity);
  } else {
    free_.emplace(capacity, pointer);
  }
}

void MemoryPool::count_reserved(int64_t bytes) {
  MemoryPool* root = this;
  while (root->parent_) root = root->parent_.get();
  root->reserved_ = static_cast<size_t>(static_cast<int64_t>(root->reserved_) + bytes);
}

}  // namespace warptile::addon
