// What every entry point of the addon shares: its arguments, its environment, its errors.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "addon/device_context.h"
#include "addon/errors.h"

namespace warptile::addon {

// State of one JavaScript thread (main or worker).
struct Environment {
  std::map<int64_t, std::unique_ptr<DeviceContext>> devices;
  int64_t next_device = 1;
};

inline double double_argument(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsNumber()) {
    throw AddonError("ERR_ARGUMENT", "argument " + std::to_string(index) + " is not a number");
  }
  return info[index].As<Napi::Number>().DoubleValue();
}

inline int64_t integer_argument(const Napi::CallbackInfo& info, size_t index) {
  const double value = double_argument(info, index);
  if (!(value >= 0 && value <= 9007199254740991.0) || value != std::floor(value)) {
    throw AddonError("ERR_ARGUMENT", "argument " + std::to_string(index) + " is not a non-negative integer");
  }
  return static_cast<int64_t>(value);
}

inline Napi::ArrayBuffer buffer_argument(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsArrayBuffer()) {
    throw AddonError("ERR_ARGUMENT", "argument " + std::to_string(index) + " is not an ArrayBuffer");
  }
  return info[index].As<Napi::ArrayBuffer>();
}

inline Napi::Function function_argument(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsFunction()) {
    throw AddonError("ERR_ARGUMENT", "argument " + std::to_string(index) + " is not a function");
  }
  return info[index].As<Napi::Function>();
}

// The words of a command: argument `array` is a Float64Array of which `count` gives how many are used.
struct WordsArgument {
  const double* data;
  size_t length;
};

inline WordsArgument words_argument(const Napi::CallbackInfo& info, size_t array, size_t count) {
  if (!info[array].IsTypedArray()) throw AddonError("ERR_ARGUMENT", "words is not a Float64Array");
  const auto words = info[array].As<Napi::Float64Array>();
  const int64_t length = integer_argument(info, count);
  if (words.TypedArrayType() != napi_float64_array || length > static_cast<int64_t>(words.ElementLength())) {
    throw AddonError("ERR_ARGUMENT", "words is not a Float64Array of that length");
  }
  return {words.Data(), static_cast<size_t>(length)};
}

inline Environment& environment(const Napi::CallbackInfo& info) { return *info.Env().GetInstanceData<Environment>(); }

// The device that argument 0 names, current on this thread and not lost.
inline DeviceContext& device_argument(const Napi::CallbackInfo& info) {
  const auto& devices = environment(info).devices;
  const auto found = devices.find(integer_argument(info, 0));
  if (found == devices.end()) throw AddonError("ERR_DISPOSED", "no such device");
  found->second->activate();
  return *found->second;
}

// Wraps an entry point: every C++ exception becomes a JavaScript error.
template <Napi::Value (*kBody)(const Napi::CallbackInfo&)>
Napi::Value entry(const Napi::CallbackInfo& info) {
  const auto raise = [&](const char* code, const char* message) -> Napi::Value {
    Napi::Error error = Napi::Error::New(info.Env(), message);
    error.Value().Set("code", Napi::String::New(info.Env(), code));
    throw error;
  };
  try {
    return kBody(info);
  } catch (const AddonError& error) {
    return raise(error.code(), error.what());
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    return raise("ERR_OUT_OF_MEMORY", "the host has no memory left");
  } catch (const std::exception& error) {
    return raise("ERR_CUDA", error.what());
  }
}

}  // namespace warptile::addon
