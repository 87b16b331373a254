#include "addon/staging.h"

#include <algorithm>

namespace warptile::addon {
namespace {

constexpr size_t kGranularity = 64 * 1024;
// Pinned memory is taken from the whole machine: past this, idle blocks are given back.
constexpr size_t kMaxCachedBytes = size_t{512} << 20;

bool is_idle(const StagingPool::Block& block) { return !block.held && cudaEventQuery(block.done) == cudaSuccess; }

void destroy(StagingPool::Block& block) {
  cudaEventDestroy(block.done);
  cudaFreeHost(block.memory);
}

}  // namespace

StagingPool::~StagingPool() {
  for (auto& block : blocks_) destroy(*block);
  cudaGetLastError();
}

Status StagingPool::acquire(size_t bytes, bool hold, Block** block) {
  const std::lock_guard lock(mutex_);
  Block* best = nullptr;
  // By capacity: mostly the first one that is large enough is idle, and only that one is asked.
  auto candidate = std::lower_bound(blocks_.begin(), blocks_.end(), bytes,
                                    [](const auto& one, size_t least) { return one->capacity < least; });
  for (; !best && candidate != blocks_.end(); ++candidate) {
    if (is_idle(**candidate)) best = candidate->get();
  }
  cudaGetLastError();  // cudaErrorNotReady of a busy block
  if (!best) WARPTILE_RETURN_IF_ERROR(create(bytes, &best));
  best->held = hold;
  *block = best;
  return Status::ok();
}

void StagingPool::release(Block* block) {
  const std::lock_guard lock(mutex_);
  block->held = false;
}

void StagingPool::trim() {
  const std::lock_guard lock(mutex_);
  destroy_idle();
}

Status StagingPool::create(size_t bytes, Block** block) {
  const size_t capacity = (std::max(bytes, size_t{1}) + kGranularity - 1) / kGranularity * kGranularity;
  if (cached_bytes_ + capacity > kMaxCachedBytes) destroy_idle();
  auto fresh = std::make_unique<Block>();
  WARPTILE_CUDA(cudaHostAlloc(&fresh->memory, capacity, cudaHostAllocDefault));
  const cudaError_t error = cudaEventCreateWithFlags(&fresh->done, cudaEventBlockingSync | cudaEventDisableTiming);
  if (error != cudaSuccess) {
    cudaFreeHost(fresh->memory);
    return Status::from_cuda(error, "cudaEventCreateWithFlags");
  }
  fresh->capacity = capacity;
  cached_bytes_ += capacity;
  *block = fresh.get();
  const auto place = std::upper_bound(blocks_.begin(), blocks_.end(), capacity,
                                      [](size_t least, const auto& one) { return least < one->capacity; });
  blocks_.insert(place, std::move(fresh));
  return Status::ok();
}

void StagingPool::destroy_idle() {
  const auto idle = std::stable_partition(blocks_.begin(), blocks_.end(), [](const auto& block) { return !is_idle(*block); });
  for (auto it = idle; it != blocks_.end(); ++it) {
    cached_bytes_ -= (*it)->capacity;
    destroy(**it);
  }
  blocks_.erase(idle, blocks_.end());
  cudaGetLastError();
}

}  // namespace warptile::addon
