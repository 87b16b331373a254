#include "addon/memory_pool.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <string>

namespace warptile::addon {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kGranularity = 512;
// A block of each kind but the last at most, the slabs they are cut from, and the least that is worth keeping of one.
constexpr size_t kLargest[] = {kMiB, 16 * kMiB, 64 * kMiB};
constexpr size_t kSlabBytes[] = {8 * kMiB, 64 * kMiB, 256 * kMiB};
constexpr size_t kLeastRest[] = {kGranularity, kMiB / 4, kMiB};
constexpr size_t kLargeGranularity = 2 * kMiB;

size_t round_up(size_t bytes, size_t granularity) { return (bytes + granularity - 1) / granularity * granularity; }

// A free block that cannot be cut serves a request if at most a quarter of it, or one granule, is wasted.
bool serves(size_t capacity, size_t bytes) { return capacity - bytes <= bytes / 4 + kGranularity; }

bool asks_for_exact() {
  const char* value = std::getenv("WARPTILE_EXACT_ALLOCATIONS");
  return value != nullptr && std::string(value) == "1";
}

}  // namespace

DevicePool::DevicePool(size_t limit) : exact_(asks_for_exact()), most_slab_(round_up(limit / 16, kGranularity)) {}

DevicePool::~DevicePool() { trim(); }

DevicePool::Kind DevicePool::kind_of(size_t bytes) const {
  if (exact_ || bytes > kLargest[kWide]) return kLarge;
  if (bytes > kLargest[kMiddle]) return kWide;
  return bytes > kLargest[kSmall] ? kMiddle : kSmall;
}

Status DevicePool::allocate(size_t bytes, std::shared_ptr<Block>* block) {
  if (bytes > std::numeric_limits<size_t>::max() / 2) {
    return {StatusCode::kOutOfMemory, "allocation of " + std::to_string(bytes) + " bytes"};
  }
  const size_t asked = bytes == 0 ? 1 : bytes;
  const Kind kind = kind_of(asked);
  const size_t capacity = exact_ ? asked : round_up(asked, kind == kLarge ? kLargeGranularity : kGranularity);
  const auto found = free_[kind].lower_bound({capacity, nullptr});
  const bool fits = found != free_[kind].end() &&
                    (kind != kLarge || (exact_ ? found->first == capacity : serves(found->first, capacity)));
  Pieces::iterator piece;
  if (fits) {
    piece = pieces_.find(found->second);
  } else {
    char* slab = nullptr;
    WARPTILE_RETURN_IF_ERROR(reserve(kind, capacity, &slab));
    piece = pieces_.emplace(slab, Piece{slabs_[slab], slab, kind, false}).first;
    add_free(piece);
  }
  remove_free(piece);
  cut(piece, capacity);
  *block = std::make_shared<Block>(shared_from_this(), piece->first, piece->second.bytes);
  return Status::ok();
}

// A slab for at least so many bytes: only as large where memory is short.
Status DevicePool::reserve(Kind kind, size_t bytes, char** slab) {
  const size_t wanted = kind == kLarge ? bytes : std::max(bytes, std::min(kSlabBytes[kind], most_slab_));
  void* pointer = nullptr;
  size_t capacity = wanted;
  cudaError_t error = cudaMalloc(&pointer, capacity);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    trim();
    error = cudaMalloc(&pointer, capacity);
  }
  if (error == cudaErrorMemoryAllocation && wanted > bytes) {
    cudaGetLastError();
    capacity = bytes;
    error = cudaMalloc(&pointer, capacity);
  }
  WARPTILE_RETURN_IF_ERROR(Status::from_cuda(error, "cudaMalloc"));
  *slab = static_cast<char*>(pointer);
  slabs_[*slab] = capacity;
  reserved_ += capacity;
  return Status::ok();
}

// Leaves `bytes` of a piece, and the rest as a free one.
void DevicePool::cut(Pieces::iterator piece, size_t bytes) {
  auto& [address, whole] = *piece;
  if (whole.kind == kLarge || whole.bytes - bytes < kLeastRest[whole.kind]) return;
  const auto rest = pieces_.emplace(address + bytes, Piece{whole.bytes - bytes, whole.slab, whole.kind, false}).first;
  whole.bytes = bytes;
  add_free(rest);
}

void DevicePool::add_free(Pieces::iterator piece) {
  piece->second.free = true;
  free_[piece->second.kind].emplace(piece->second.bytes, piece->first);
}

void DevicePool::remove_free(Pieces::iterator piece) {
  piece->second.free = false;
  free_[piece->second.kind].erase({piece->second.bytes, piece->first});
}

void DevicePool::give_back(void* pointer, size_t) {
  auto piece = pieces_.find(static_cast<char*>(pointer));
  const auto joins = [&](Pieces::iterator other) { return other->second.free && other->second.slab == piece->second.slab; };
  const auto next = std::next(piece);
  if (next != pieces_.end() && joins(next)) {
    remove_free(next);
    piece->second.bytes += next->second.bytes;
    pieces_.erase(next);
  }
  if (piece != pieces_.begin() && joins(std::prev(piece))) {
    const auto before = std::prev(piece);
    remove_free(before);
    before->second.bytes += piece->second.bytes;
    pieces_.erase(piece);
    piece = before;
  }
  add_free(piece);
}

void DevicePool::trim() {
  for (auto slab = slabs_.begin(); slab != slabs_.end();) {
    const auto [address, bytes] = *slab;
    const auto piece = pieces_.find(address);
    if (!piece->second.free || piece->second.bytes != bytes) {
      ++slab;
      continue;
    }
    // After a sticky error nothing can be freed; the driver takes the memory back with the process.
    if (cudaFree(address) != cudaSuccess) cudaGetLastError();
    remove_free(piece);
    pieces_.erase(piece);
    reserved_ -= bytes;
    slab = slabs_.erase(slab);
  }
}

Status GraphPool::allocate(size_t bytes, std::shared_ptr<Block>* block) {
  const auto cached = free_.lower_bound(bytes);
  if (cached != free_.end() && serves(cached->first, bytes)) {
    *block = std::make_shared<Block>(shared_from_this(), cached->second, cached->first);
    free_.erase(cached);
    return Status::ok();
  }
  std::shared_ptr<Block> taken;
  WARPTILE_RETURN_IF_ERROR(device_->allocate(bytes, &taken));
  held_[taken->pointer()] = taken;
  *block = std::make_shared<Block>(shared_from_this(), taken->pointer(), taken->capacity());
  return Status::ok();
}

void GraphPool::retire() {
  retired_ = true;
  for (const auto& [capacity, pointer] : free_) held_.erase(pointer);
  free_.clear();
}

void GraphPool::give_back(void* pointer, size_t capacity) {
  if (retired_) {
    held_.erase(pointer);
  } else {
    free_.emplace(capacity, pointer);
  }
}

}  // namespace warptile::addon
