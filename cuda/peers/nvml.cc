#include "peers/nvml.h"

#include <cuda_runtime_api.h>

#include <type_traits>

#include "peers/dynamic_library.h"

namespace warptile::peers {
namespace {

// Names and types: NVML API Reference, "Device Queries" (nvmlDeviceGetTotalEnergyConsumption).
using Device = struct NvmlDeviceTag*;
enum Result : int { kSuccess = 0 };

struct Loaded {
  DynamicLibrary library{{"libnvidia-ml.so.1"}, {}};
  Result (*init)() = nullptr;
  Result (*device_by_bus)(const char* bus, Device*) = nullptr;
  Result (*energy)(Device, unsigned long long* millijoules) = nullptr;
  std::string problem;

  Loaded() {
    if (!library.is_open()) {
      problem = library.problems();
      return;
    }
    const auto bind = [&](auto& pointer, const char* name) {
      pointer = library.symbol<std::remove_pointer_t<std::remove_reference_t<decltype(pointer)>>>(name);
      if (!pointer) problem += std::string(problem.empty() ? library.file() + " lacks " : ", ") + name;
    };
    bind(init, "nvmlInit_v2");
    bind(device_by_bus, "nvmlDeviceGetHandleByPciBusId_v2");
    bind(energy, "nvmlDeviceGetTotalEnergyConsumption");
    if (!problem.empty()) return;
    const Result result = init();
    if (result != kSuccess) problem = "nvmlInit: status " + std::to_string(static_cast<int>(result));
  }
};

const Loaded& loaded() {
  static const Loaded instance;
  return instance;
}

Status check(Result result, const char* call) {
  if (result == kSuccess) return Status::ok();
  return Status::unsupported(std::string(call) + ": status " + std::to_string(static_cast<int>(result)));
}

}  // namespace

Status nvml_library(std::string* description) {
  if (!loaded().problem.empty()) return Status::unsupported(loaded().problem);
  *description = loaded().library.file();
  return Status::ok();
}

Status nvml_energy(int ordinal, uint64_t* millijoules) {
  const Loaded& nvml = loaded();
  if (!nvml.problem.empty()) return Status::unsupported(nvml.problem);
  // Ordinals of CUDA and NVML differ (visible devices, order): the bus is common to both.
  char bus[32] = {};
  WARPTILE_CUDA(cudaDeviceGetPCIBusId(bus, sizeof(bus), ordinal));
  Device device = nullptr;
  WARPTILE_RETURN_IF_ERROR(check(nvml.device_by_bus(bus, &device), "nvmlDeviceGetHandleByPciBusId"));
  unsigned long long value = 0;
  WARPTILE_RETURN_IF_ERROR(check(nvml.energy(device, &value), "nvmlDeviceGetTotalEnergyConsumption"));
  *millijoules = value;
  return Status::ok();
}

}  // namespace warptile::peers
