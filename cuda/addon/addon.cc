// The N-API surface: flat functions over numbers, each converting C++ errors to JavaScript errors with a `code`.
// Arguments come from lib/backends/cuda.ts, which validated them; they are checked again where memory is at stake.

#include <napi.h>

#include <memory>
#include <vector>

#include "addon/entry.h"
#include "addon/operation_table.h"
#include "addon/peers.h"

namespace warptile::addon {
namespace {

std::string version_text(int version) { return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10); }

// probe(): { devices: [name...], driver, runtime }; throws ERR_BACKEND_UNAVAILABLE with CUDA's reason.
Napi::Value probe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  cudaGetLastError();
  int driver = 0;
  int runtime = 0;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  if (error != cudaSuccess) {
    throw AddonError("ERR_BACKEND_UNAVAILABLE",
                     std::string(cudaGetErrorString(error)) + " (" + cudaGetErrorName(error) + "; driver CUDA " +
                         (driver ? version_text(driver) : std::string("not found")) + ", addon built with CUDA " +
                         version_text(runtime) + ")");
  }
  Napi::Array devices = Napi::Array::New(env);
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
    Napi::Object device = Napi::Object::New(env);
    device.Set("name", properties.name);
    device.Set("major", properties.major);
    device.Set("minor", properties.minor);
    device.Set("multiprocessors", properties.multiProcessorCount);
    device.Set("totalMemoryBytes", static_cast<double>(properties.totalGlobalMem));
    device.Set("l2Bytes", properties.l2CacheSize);
    device.Set("sharedMemoryPerBlockBytes", static_cast<double>(properties.sharedMemPerBlockOptin));
    devices.Set(static_cast<uint32_t>(ordinal), device);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("devices", devices);
  result.Set("driver", version_text(driver));
  result.Set("runtime", version_text(runtime));
  return result;
}

// At the end of the environment: before the thread-safe function of the device's waiter goes, since hooks run in reverse
// order and this one is added after it.
void close_at_exit(DeviceContext* device) { device->close(false); }

// openDevice(ordinal, memoryLimit) -> device
Napi::Value open_device(const Napi::CallbackInfo& info) {
  Environment& state = environment(info);
  const int64_t name = state.next_device++;
  auto device = std::make_unique<DeviceContext>(info.Env(), static_cast<int>(integer_argument(info, 0)),
                                                integer_argument(info, 1));
  info.Env().AddCleanupHook(close_at_exit, device.get());
  state.devices[name] = std::move(device);
  return Napi::Number::New(info.Env(), static_cast<double>(name));
}

// closeDevice(device): its context lives on until the environment ends, for completions still to be delivered.
Napi::Value close_device(const Napi::CallbackInfo& info) {
  const auto& devices = environment(info).devices;
  const auto found = devices.find(integer_argument(info, 0));
  if (found != devices.end()) found->second->close(true);
  return info.Env().Undefined();
}

Napi::Value allocate(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), device_argument(info).allocate(integer_argument(info, 1)));
}

// Frees also on a lost device, where the memory is gone but the books must balance.
Napi::Value free_buffer(const Napi::CallbackInfo& info) {
  const auto& devices = environment(info).devices;
  const auto found = devices.find(integer_argument(info, 0));
  if (found != devices.end()) found->second->free(double_argument(info, 1));
  return info.Env().Undefined();
}

// upload(device, buffer, offset, arrayBuffer, sourceOffset, bytes)
Napi::Value upload(const Napi::CallbackInfo& info) {
  Napi::ArrayBuffer source = buffer_argument(info, 3);
  const int64_t start = integer_argument(info, 4);
  const int64_t bytes = integer_argument(info, 5);
  const auto available = static_cast<int64_t>(source.ByteLength());
  if (start > available || bytes > available - start) throw AddonError("ERR_ARGUMENT", "upload: source is too short");
  device_argument(info).upload(double_argument(info, 1), integer_argument(info, 2),
                               static_cast<const char*>(source.Data()) + start, bytes);
  return info.Env().Undefined();
}

// download(device, buffer, offset, arrayBuffer, callback): fills the whole array buffer.
Napi::Value download(const Napi::CallbackInfo& info) {
  device_argument(info).download(double_argument(info, 1), integer_argument(info, 2), buffer_argument(info, 3),
                                 function_argument(info, 4));
  return info.Env().Undefined();
}

Napi::Value download_sync(const Napi::CallbackInfo& info) {
  Napi::ArrayBuffer target = buffer_argument(info, 3);
  device_argument(info).download_sync(double_argument(info, 1), integer_argument(info, 2), target.Data(),
                                      static_cast<int64_t>(target.ByteLength()));
  return info.Env().Undefined();
}

// copy(device, target, targetOffset, source, sourceOffset, bytes)
Napi::Value copy(const Napi::CallbackInfo& info) {
  device_argument(info).copy(double_argument(info, 1), integer_argument(info, 2), double_argument(info, 3),
                             integer_argument(info, 4), integer_argument(info, 5));
  return info.Env().Undefined();
}

// fill(device, buffer, offset, bytes, value)
Napi::Value fill(const Napi::CallbackInfo& info) {
  device_argument(info).fill(double_argument(info, 1), integer_argument(info, 2), integer_argument(info, 3),
                             static_cast<int>(integer_argument(info, 4) & 0xff));
  return info.Env().Undefined();
}

// memory(device) -> [used, peak, reserved, handles]
Napi::Value memory(const Napi::CallbackInfo& info) {
  DeviceContext& device = device_argument(info);
  Napi::Array result = Napi::Array::New(info.Env(), 4);
  uint32_t index = 0;
  for (const int64_t value : {device.used(), device.peak(), device.reserved(), device.handles()}) {
    result.Set(index++, Napi::Number::New(info.Env(), static_cast<double>(value)));
  }
  return result;
}

Napi::Value synchronize(const Napi::CallbackInfo& info) {
  device_argument(info).synchronize(function_argument(info, 1));
  return info.Env().Undefined();
}

Napi::Value synchronize_sync(const Napi::CallbackInfo& info) {
  device_argument(info).synchronize_sync();
  return info.Env().Undefined();
}

Napi::Value begin_capture(const Napi::CallbackInfo& info) {
  device_argument(info).begin_capture();
  return info.Env().Undefined();
}

Napi::Value end_capture(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), device_argument(info).end_capture());
}

Napi::Value abort_capture(const Napi::CallbackInfo& info) {
  device_argument(info).abort_capture();
  return info.Env().Undefined();
}

Napi::Value replay(const Napi::CallbackInfo& info) {
  device_argument(info).replay(double_argument(info, 1));
  return info.Env().Undefined();
}

Napi::Value destroy_graph(const Napi::CallbackInfo& info) {
  const auto& devices = environment(info).devices;
  const auto found = devices.find(integer_argument(info, 0));
  if (found != devices.end()) found->second->destroy_graph(double_argument(info, 1));
  return info.Env().Undefined();
}

Napi::Value mark(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), device_argument(info).mark());
}

// elapsed(device, startMark, endMark, callback)
Napi::Value elapsed(const Napi::CallbackInfo& info) {
  device_argument(info).elapsed(double_argument(info, 1), double_argument(info, 2), function_argument(info, 3));
  return info.Env().Undefined();
}

// The operation of the arguments; launches nothing where there are `placements`.
void run_operation(const Napi::CallbackInfo& info, std::vector<Placement>* placements) {
  DeviceContext& device = device_argument(info);
  const auto& table = operation_table();
  const int64_t index = integer_argument(info, 1);
  if (index >= static_cast<int64_t>(table.size())) throw AddonError("ERR_ARGUMENT", "run: no such operation");
  const WordsArgument words = words_argument(info, 2, 3);
  CommandReader in(device, words.data, words.length);
  DeviceContext::Call call(device);
  LaunchContext context = device.launch_context(&call);
  context.placements = placements;
  device.check(table[static_cast<size_t>(index)].run(in, context));
}

// run(device, operation, words: Float64Array, length): enqueues one operation.
Napi::Value run(const Napi::CallbackInfo& info) {
  run_operation(info, nullptr);
  return info.Env().Undefined();
}

// placements(device, operation, words, length): blocks, threads and resident blocks of each kernel that `run` would launch.
Napi::Value placements(const Napi::CallbackInfo& info) {
  std::vector<Placement> found;
  run_operation(info, &found);
  Napi::Array numbers = Napi::Array::New(info.Env(), 3 * found.size());
  uint32_t at = 0;
  for (const Placement& placement : found) {
    numbers.Set(at++, static_cast<double>(placement.blocks));
    numbers.Set(at++, placement.threads);
    numbers.Set(at++, placement.resident);
  }
  return numbers;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData<Environment>(new Environment);  // deleted with the environment
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("probe", entry<probe>);
  add("openDevice", entry<open_device>);
  add("closeDevice", entry<close_device>);
  add("allocate", entry<allocate>);
  add("free", entry<free_buffer>);
  add("upload", entry<upload>);
  add("download", entry<download>);
  add("downloadSync", entry<download_sync>);
  add("copy", entry<copy>);
  add("fill", entry<fill>);
  add("memory", entry<memory>);
  add("synchronize", entry<synchronize>);
  add("synchronizeSync", entry<synchronize_sync>);
  add("beginCapture", entry<begin_capture>);
  add("endCapture", entry<end_capture>);
  add("abortCapture", entry<abort_capture>);
  add("replay", entry<replay>);
  add("destroyGraph", entry<destroy_graph>);
  add("mark", entry<mark>);
  add("elapsed", entry<elapsed>);
  add("run", entry<run>);
  add("placements", entry<placements>);
  const auto& table = operation_table();
  Napi::Array names = Napi::Array::New(env, table.size());
  for (size_t i = 0; i < table.size(); ++i) names.Set(static_cast<uint32_t>(i), table[i].name);
  exports.Set("operations", names);
  add_peers(env, exports);
  return exports;
}

}  // namespace
}  // namespace warptile::addon

static Napi::Object initialize(Napi::Env env, Napi::Object exports) { return warptile::addon::init(env, exports); }

NODE_API_MODULE(warptile, initialize)
