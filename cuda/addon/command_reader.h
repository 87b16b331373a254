// Reads an operation's arguments in the order in which lib/backends/cuda/<op>.ts wrote them.
//
// Every value is checked: integers are integers, buffers are live buffers of the device that hold the bytes that
// the operation will touch, and nothing is left over. A kernel is never launched on unchecked memory, whatever
// JavaScript passed.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "addon/addon_error.h"
#include "addon/buffer_table.h"
#include "common/checked.h"
#include "common/dtype.h"

namespace warptile::addon {

class CommandReader {
 public:
  CommandReader(BufferTable& buffers, const double* words, size_t length)
      : buffers_(buffers), words_(words), length_(length) {}

  // A non-negative integer.
  int64_t size(const char* name) {
    const int64_t value = integer(name);
    if (value < 0) fail(name, "is negative");
    return value;
  }

  // A non-negative integer that an int holds.
  int small_size(const char* name) {
    const int64_t value = size(name);
    if (value > INT32_MAX) fail(name, "is past 2^31 - 1");
    return static_cast<int>(value);
  }

  int64_t integer(const char* name) {
    const double value = number(name);
    if (!(std::fabs(value) <= 9007199254740991.0) || value != std::floor(value)) fail(name, "is not an integer");
    return static_cast<int64_t>(value);
  }

  // Any double; for scalars such as alpha.
  double number(const char* name) {
    if (next_ == length_) fail(name, "is missing");
    return words_[next_++];
  }

  bool flag(const char* name) { return integer(name) != 0; }

  DType dtype(const char* name) {
    const int64_t code = integer(name);
    if (code < 0 || code >= kDTypeCount) fail(name, "is not a dtype");
    return static_cast<DType>(code);
  }

  // A dtype in which kernels compute.
  DType float_dtype(const char* name) {
    const DType value = dtype(name);
    if (!is_float(value)) fail(name, "is not a float dtype");
    return value;
  }

  // The address of elements of `bytes_each` bytes, as many as the product of `sizes`. Null for the null buffer of an
  // optional operand.
  const void* input(const char* name, size_t bytes_each, std::initializer_list<int64_t> sizes) {
    return resolve(name, bytes_each, sizes, false);
  }
  const void* optional_input(const char* name, size_t bytes_each, std::initializer_list<int64_t> sizes) {
    return resolve(name, bytes_each, sizes, true);
  }
  const int32_t* int32_input(const char* name, std::initializer_list<int64_t> sizes) {
    return static_cast<const int32_t*>(resolve(name, sizeof(int32_t), sizes, false));
  }
  const int32_t* optional_int32_input(const char* name, std::initializer_list<int64_t> sizes) {
    return static_cast<const int32_t*>(resolve(name, sizeof(int32_t), sizes, true));
  }
  void* output(const char* name, size_t bytes_each, std::initializer_list<int64_t> sizes) {
    return resolve(name, bytes_each, sizes, false);
  }
  void* optional_output(const char* name, size_t bytes_each, std::initializer_list<int64_t> sizes) {
    return resolve(name, bytes_each, sizes, true);
  }

  // Call last.
  void finish() const {
    if (next_ != length_) throw AddonError("ERR_ARGUMENT", "command: more words than the operation reads");
  }

  [[noreturn]] static void fail(const char* name, const char* problem) {
    throw AddonError("ERR_ARGUMENT", std::string("command: ") + name + " " + problem);
  }

 private:
  void* resolve(const char* name, size_t bytes_each, std::initializer_list<int64_t> sizes, bool optional) {
    const double id = number(name);
    const int64_t offset = size(name);
    if (optional && id == 0) return nullptr;
    const auto elements = checked_product(sizes);
    const auto bytes = elements ? checked_product({*elements, static_cast<int64_t>(bytes_each)}) : elements;
    if (!bytes) fail(name, "has more bytes than 64 bits count");
    if (offset % static_cast<int64_t>(bytes_each) != 0) fail(name, "is misaligned");
    return buffers_.resolve(id, offset, *bytes, name);
  }

  BufferTable& buffers_;
  const double* words_;
  size_t length_;
  size_t next_ = 0;
};

}  // namespace warptile::addon
