#include "addon/device_context.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "addon/errors.h"

namespace warptile::addon {
namespace {

// A buffer's number is slot + 1 + generation * 2^24: exact in a double, and stale numbers are noticed.
constexpr uint32_t kSlotBits = 24;
constexpr uint32_t kMaxGeneration = 1u << 28;

// V8 is told a share of the device's bytes: enough to collect dropped tensors, too little to collect at every allocation.
constexpr int64_t kExternalMemoryShare = 16;
// And of changes past this: while much waits to be collected, it marks for up to milliseconds each time that it is told of more.
constexpr int64_t kExternalMemoryStep = int64_t{8} << 20;

// Up to this much the driver takes bytes out of pageable memory before a copy is enqueued, without waiting for the stream (CUDA C++
// Programming Guide, "Concurrent Execution between Host and Device"): two calls and an event less than by way of pinned memory.
constexpr int64_t kMostTakenAtOnce = int64_t{64} << 10;

// An upload past this goes in pieces through two blocks, so that pinned memory stays bounded.
constexpr int64_t kUploadChunkBytes = int64_t{64} << 20;

thread_local int current_device = -1;

}  // namespace

DeviceContext::DeviceContext(Napi::Env env, int ordinal, int64_t memory_limit)
    : env_(env), ordinal_(ordinal), memory_limit_(memory_limit) {
  activate();
  check(cudaGetDeviceProperties(&properties_, ordinal), "cudaGetDeviceProperties");
  pool_ = std::make_shared<DevicePool>(std::min(static_cast<size_t>(memory_limit), properties_.totalGlobalMem));
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  limits_.ordinal = ordinal;
  limits_.major = properties_.major;
  limits_.minor = properties_.minor;
  limits_.multiprocessors = properties_.multiProcessorCount;
  limits_.shared_memory_per_block = properties_.sharedMemPerBlockOptin;
  limits_.l2_bytes = static_cast<size_t>(properties_.l2CacheSize);
  waiter_ = std::make_unique<Waiter>(env, ordinal, [this](const Status& status) {
    if (status.code() == StatusCode::kDeviceLost) lost_ = true;
  });
}

DeviceContext::~DeviceContext() { close(false); }

void DeviceContext::close(bool finish_pending) {
  if (closed_) return;
  closed_ = true;
  cudaSetDevice(ordinal_);
  current_device = ordinal_;
  if (capturing_) abort_capture();
  waiter_->stop(finish_pending);
  cudaStreamSynchronize(stream_);
  for (auto& [name, graph] : graphs_) cudaGraphExecDestroy(graph->executable);
  graphs_.clear();
  for (auto& [name, event] : marks_) cudaEventDestroy(event);
  peers_.clear();
  slots_.clear();
  pool_->trim();
  staging_.trim();
  cudaStreamDestroy(stream_);
  cudaGetLastError();
}

void DeviceContext::activate() {
  if (closed_) throw AddonError("ERR_DISPOSED", "the device has been closed");
  if (lost_) {
    throw AddonError("ERR_DEVICE_LOST",
                     "the device was lost to an earlier error in this process; open it again in a new process");
  }
  if (current_device != ordinal_) {
    check(cudaSetDevice(ordinal_), "cudaSetDevice");
    current_device = ordinal_;
  }
}

void DeviceContext::check(const Status& status) {
  if (status.is_ok()) return;
  if (status.code() == StatusCode::kDeviceLost) lost_ = true;
  throw_if_error(status);
}

std::shared_ptr<MemoryPool::Block> DeviceContext::allocate_block(int64_t bytes) {
  std::shared_ptr<MemoryPool::Block> block;
  MemoryPool& pool = capturing_ ? static_cast<MemoryPool&>(*capturing_->pool) : *pool_;
  check(pool.allocate(static_cast<size_t>(bytes), &block));
  return block;
}

double DeviceContext::allocate(int64_t bytes) {
  if (bytes > memory_limit_ - used_) {
    throw AddonError("ERR_OUT_OF_MEMORY", "allocation of " + std::to_string(bytes) + " bytes: " + std::to_string(used_) +
                                              " of the limit of " + std::to_string(memory_limit_) + " bytes are in use");
  }
  auto block = allocate_block(bytes);
  if (free_slots_.empty()) {
    if (slots_.size() >> kSlotBits) throw AddonError("ERR_LIMIT", "too many live buffers");
    free_slots_.push_back(static_cast<uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[index];
  slot.block = std::move(block);
  slot.bytes = bytes;
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  ++handles_;
  tell_collector();
  return static_cast<double>(index) + 1 + static_cast<double>(slot.generation) * (1u << kSlotBits);
}

DeviceContext::Slot& DeviceContext::slot(double id, const char* name) {
  if (id >= 1 && id == std::floor(id) && id < 9007199254740992.0) {
    const auto number = static_cast<uint64_t>(id) - 1;
    const uint64_t index = number & ((1u << kSlotBits) - 1);
    if (index < slots_.size() && slots_[index].block && slots_[index].generation == number >> kSlotBits) {
      return slots_[index];
    }
  }
  throw AddonError("ERR_DISPOSED", std::string(name) + ": not a live buffer of this device");
}

void DeviceContext::free(double id) {
  if (closed_) return;
  Slot& freed = slot(id, "buffer");
  freed.block.reset();
  freed.generation = (freed.generation + 1) % kMaxGeneration;
  used_ -= freed.bytes;
  --handles_;
  free_slots_.push_back(static_cast<uint32_t>(&freed - slots_.data()));
  tell_collector();
}

void DeviceContext::tell_collector() {
  const int64_t change = used_ / kExternalMemoryShare - told_;
  if (std::abs(change) < kExternalMemoryStep) return;
  told_ += change;
  Napi::MemoryManagement::AdjustExternalMemory(env_, change);
}

void* DeviceContext::resolve(double id, int64_t offset, int64_t bytes, const char* name) {
  Slot& held = slot(id, name);
  if (offset < 0 || bytes < 0 || offset > held.bytes || bytes > held.bytes - offset) {
    throw AddonError("ERR_ARGUMENT", std::string(name) + ": " + std::to_string(bytes) + " bytes at offset " +
                                         std::to_string(offset) + " of a buffer of " + std::to_string(held.bytes));
  }
  // Memory of the recording's own pool stays with that pool anyway, and may be reused within the recording.
  if (capturing_ && held.block->pool() != capturing_->pool.get()) capturing_->kept.push_back(held.block);
  return static_cast<char*>(held.block->pointer()) + offset;
}

void DeviceContext::upload(double id, int64_t offset, const void* source, int64_t bytes) {
  not_capturing("an upload");
  char* target = static_cast<char*>(resolve(id, offset, bytes, "buffer"));
  // A device that reads pageable memory itself may do so later, when the caller has other use for it.
  if (bytes <= kMostTakenAtOnce && !properties_.pageableMemoryAccess) {
    if (bytes == 0) return;
    check(cudaMemcpyAsync(target, source, static_cast<size_t>(bytes), cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    return;
  }
  StagingPool::Block* previous = nullptr;
  StagingPool::Block* block = nullptr;
  for (int64_t done = 0; done < bytes; done += kUploadChunkBytes) {
    const size_t part = static_cast<size_t>(std::min(bytes - done, kUploadChunkBytes));
    if (previous) check(cudaEventSynchronize(previous->done), "cudaEventSynchronize");
    previous = block;
    check(staging_.acquire(part, false, &block));
    std::memcpy(block->memory, static_cast<const char*>(source) + done, part);
    check(cudaMemcpyAsync(target + done, block->memory, part, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    check(cudaEventRecord(block->done, stream_), "cudaEventRecord");
  }
}

void DeviceContext::download(double id, int64_t offset, Napi::ArrayBuffer target, Napi::Function callback) {
  not_capturing("a read-back");
  const size_t bytes = target.ByteLength();
  void* source = resolve(id, offset, static_cast<int64_t>(bytes), "buffer");
  StagingPool::Block* block = nullptr;
  check(staging_.acquire(bytes, true, &block));
  try {
    check(cudaMemcpyAsync(block->memory, source, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
    check(cudaEventRecord(block->done, stream_), "cudaEventRecord");
  } catch (...) {
    staging_.release(block);
    throw;
  }
  auto job = std::make_unique<Waiter::Job>();
  job->event = block->done;
  job->target = Napi::Persistent(target.As<Napi::Object>());
  job->finish = [block, destination = target.Data(), bytes] {
    std::memcpy(destination, block->memory, bytes);
    return Status::ok();
  };
  job->release = [this, block] { staging_.release(block); };
  job->callback = Napi::Persistent(callback);
  waiter_->enqueue(std::move(job));
}

void DeviceContext::download_sync(double id, int64_t offset, void* target, int64_t bytes) {
  not_capturing("a read-back");
  void* source = resolve(id, offset, bytes, "buffer");
  check(cudaMemcpyAsync(target, source, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

void DeviceContext::copy(double target, int64_t target_offset, double source, int64_t source_offset, int64_t bytes) {
  void* to = resolve(target, target_offset, bytes, "target");
  const void* from = resolve(source, source_offset, bytes, "source");
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, stream_), "cudaMemcpyAsync");
}

void DeviceContext::fill(double id, int64_t offset, int64_t bytes, int value) {
  void* target = resolve(id, offset, bytes, "buffer");
  if (bytes > 0) check(cudaMemsetAsync(target, value, static_cast<size_t>(bytes), stream_), "cudaMemsetAsync");
}

void DeviceContext::not_capturing(const char* what) {
  if (capturing_) {
    throw AddonError("ERR_UNSUPPORTED",
                     std::string("capture: ") + what + " cannot be recorded; do it before or after");
  }
}

void DeviceContext::begin_capture() {
  not_capturing("a capture");
  // Relaxed: the allocator may call cudaMalloc meanwhile, which is not recorded.
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed), "cudaStreamBeginCapture");
  capturing_ = std::make_unique<Graph>();
  capturing_->pool = std::make_shared<GraphPool>(pool_);
}

double DeviceContext::end_capture() {
  if (!capturing_) throw AddonError("ERR_ARGUMENT", "no capture is being recorded");
  const std::unique_ptr<Graph> finished = std::move(capturing_);
  cudaGraph_t graph = nullptr;
  cudaError_t error = cudaStreamEndCapture(stream_, &graph);
  if (error == cudaSuccess) {
    error = cudaGraphInstantiate(&finished->executable, graph, 0);
    cudaGraphDestroy(graph);
  }
  if (error != cudaSuccess) {
    finished->pool->retire();
    check(error, "graph capture");
  }
  // The same buffer is resolved once for every use.
  auto& kept = finished->kept;
  std::sort(kept.begin(), kept.end());
  kept.erase(std::unique(kept.begin(), kept.end()), kept.end());
  const int64_t name = next_name_++;
  auto& stored = graphs_[name] = std::make_unique<Graph>();
  *stored = std::move(*finished);
  return static_cast<double>(name);
}

void DeviceContext::abort_capture() {
  if (!capturing_) return;
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess && graph) cudaGraphDestroy(graph);
  cudaGetLastError();
  capturing_->pool->retire();
  capturing_.reset();
}

void DeviceContext::replay(double name) {
  const auto found = graphs_.find(static_cast<int64_t>(name));
  if (found == graphs_.end()) throw AddonError("ERR_DISPOSED", "graph: it has been disposed");
  not_capturing("a replay");
  check(cudaGraphLaunch(found->second->executable, stream_), "cudaGraphLaunch");
}

void DeviceContext::destroy_graph(double name) {
  if (closed_) return;
  const auto found = graphs_.find(static_cast<int64_t>(name));
  if (found == graphs_.end()) return;
  // Pending replays finish first: CUDA frees a graph in flight when it is done, and memory is reused in stream order.
  cudaGraphExecDestroy(found->second->executable);
  found->second->pool->retire();
  graphs_.erase(found);
}

double DeviceContext::add_peer(std::unique_ptr<Peer> peer) {
  const int64_t name = next_name_++;
  peers_[name] = std::move(peer);
  return static_cast<double>(name);
}

DeviceContext::Peer& DeviceContext::peer(double name) {
  const auto found = peers_.find(static_cast<int64_t>(name));
  if (found == peers_.end()) throw AddonError("ERR_DISPOSED", "peer: it has been disposed");
  return *found->second;
}

void DeviceContext::remove_peer(double name) {
  if (closed_) return;
  peers_.erase(static_cast<int64_t>(name));
}

std::unique_ptr<Waiter::Job> DeviceContext::job_after_now(Napi::Function callback) {
  auto job = std::make_unique<Waiter::Job>();
  job->callback = Napi::Persistent(callback);
  check(cudaEventCreateWithFlags(&job->event, cudaEventBlockingSync | cudaEventDisableTiming),
        "cudaEventCreateWithFlags");
  job->owns_event = true;
  check(cudaEventRecord(job->event, stream_), "cudaEventRecord");
  return job;
}

void DeviceContext::synchronize(Napi::Function callback) {
  not_capturing("a synchronisation");
  waiter_->enqueue(job_after_now(callback));
}

void DeviceContext::synchronize_sync() {
  not_capturing("a synchronisation");
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

double DeviceContext::mark() {
  not_capturing("a timing");
  cudaEvent_t event = nullptr;
  check(cudaEventCreateWithFlags(&event, cudaEventBlockingSync), "cudaEventCreateWithFlags");
  marks_[next_name_] = event;
  check(cudaEventRecord(event, stream_), "cudaEventRecord");
  return static_cast<double>(next_name_++);
}

void DeviceContext::elapsed(double start_name, double end_name, Napi::Function callback) {
  const auto start = marks_.find(static_cast<int64_t>(start_name));
  const auto end = marks_.find(static_cast<int64_t>(end_name));
  if (start == marks_.end() || end == marks_.end() || start == end) throw AddonError("ERR_ARGUMENT", "no such mark");
  auto job = std::make_unique<Waiter::Job>();
  job->event = end->second;
  job->finish = [from = start->second, to = end->second, raw = job.get()] {
    float milliseconds = 0;
    WARPTILE_CUDA(cudaEventElapsedTime(&milliseconds, from, to));
    raw->value = milliseconds;
    return Status::ok();
  };
  job->release = [from = start->second, to = end->second] {
    cudaEventDestroy(from);
    cudaEventDestroy(to);
  };
  job->callback = Napi::Persistent(callback);
  marks_.erase(static_cast<int64_t>(start_name));
  marks_.erase(static_cast<int64_t>(end_name));
  waiter_->enqueue(std::move(job));
}

Status DeviceContext::Call::allocate(size_t bytes, void** pointer) {
  *pointer = nullptr;
  if (bytes == 0) return Status::ok();
  try {
    blocks_.push_back(device_.allocate_block(static_cast<int64_t>(bytes)));
  } catch (const AddonError& error) {
    return {StatusCode::kOutOfMemory, error.what()};
  }
  *pointer = blocks_.back()->pointer();
  return Status::ok();
}

}  // namespace warptile::addon
