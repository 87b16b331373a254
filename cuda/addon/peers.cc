#include "addon/peers.h"

#include <utility>

#include "addon/command_reader.h"
#include "addon/entry.h"
#include "addon/sparse_commands.h"
#include "peers/cublas.h"
#include "peers/cusparse.h"
#include "peers/nvml.h"

namespace warptile::addon {
namespace {

using peers::CusparseSpmmAlgorithm;
using Peer = DeviceContext::Peer;

// Buffers of a device, kept alive as long as the peer that reads and writes them.
class KeptBuffers final : public BufferTable {
 public:
  KeptBuffers(DeviceContext& device, Peer& peer) : device_(device), peer_(peer) {}

  void* resolve(double id, int64_t offset, int64_t bytes, const char* name) override {
    void* address = device_.resolve(id, offset, bytes, name);
    peer_.kept.push_back(device_.hold(id, name));
    return address;
  }

 private:
  DeviceContext& device_;
  Peer& peer_;
};

peers::CusparseMatrix cusparse_matrix(const SparsePattern& pattern, const void* values) {
  peers::CusparseMatrix matrix;
  matrix.rows = pattern.rows;
  matrix.columns = pattern.columns;
  matrix.block_rows = pattern.block_rows;
  matrix.block_columns = pattern.block_columns;
  matrix.stored = pattern.stored;
  matrix.row_ptr = pattern.row_ptr;
  matrix.col = pattern.col;
  matrix.values = const_cast<void*>(values);
  return matrix;
}

// A dense product is worth comparing from about a tenth of stored elements on (drawn at random, there are a few less).
constexpr double kLeastDensity = 0.095;

Status prepare_dense(CommandReader& in, cudaStream_t stream, Peer& peer) {
  const SpmmParams p = read_spmm(in).params;
  if (p.batch != 1) return Status::unsupported("batches are not compared");
  const SparsePattern& a = p.pattern;
  const double elements = static_cast<double>(a.stored) * a.block_rows * a.block_columns;
  if (elements < kLeastDensity * static_cast<double>(a.rows) * static_cast<double>(a.columns)) {
    return Status::unsupported("less than a tenth of the matrix is stored");
  }
  peers::CublasDensified problem;
  problem.dtype = p.dtype;
  problem.rows = a.rows;
  problem.columns = a.columns;
  problem.block_rows = a.block_rows;
  problem.block_columns = a.block_columns;
  problem.stored = a.stored;
  problem.row_ptr = a.row_ptr;
  problem.col = a.col;
  problem.values = p.values;
  problem.n = p.n;
  problem.b = p.b;
  problem.ldb = p.ldb;
  problem.c = p.c;
  problem.ldc = p.ldc;
  problem.alpha = p.alpha;
  problem.beta = p.beta;
  return prepare_cublas_densified(problem, stream, peer.workspace, &peer.plan);
}

template <CusparseSpmmAlgorithm kAlgorithm>
Status prepare_spmm(CommandReader& in, cudaStream_t stream, Peer& peer) {
  const SpmmParams p = read_spmm(in).params;
  if (p.batch != 1) return Status::unsupported("batches are not compared");
  if (p.pattern.is_csr() == (kAlgorithm == CusparseSpmmAlgorithm::kBsr1)) {
    return Status::unsupported("the algorithm is for the other sparse format");
  }
  peers::CusparseSpmm problem;
  problem.dtype = p.dtype;
  problem.a = cusparse_matrix(p.pattern, p.values);
  problem.n = p.n;
  problem.b = p.b;
  problem.ldb = p.ldb;
  problem.c = p.c;
  problem.ldc = p.ldc;
  problem.alpha = p.alpha;
  problem.beta = p.beta;
  return prepare_cusparse_spmm(kAlgorithm, problem, stream, peer.workspace, &peer.plan);
}

Status prepare_sddmm(CommandReader& in, cudaStream_t stream, Peer& peer) {
  const SddmmParams p = read_sddmm(in).params;
  if (p.batch != 1) return Status::unsupported("batches are not compared");
  if (p.factors) return Status::unsupported("cuSPARSE has no factors");
  peers::CusparseSddmm problem;
  problem.dtype = p.dtype;
  problem.s = cusparse_matrix(p.pattern, p.out);
  problem.depth = p.depth;
  problem.a = p.a;
  problem.lda = p.lda;
  problem.b = p.b;
  problem.ldb = p.ldb;
  problem.alpha = p.alpha;
  return prepare_cusparse_sddmm(problem, stream, peer.workspace, &peer.plan);
}

struct PeerRow {
  const char* operation;  // as in lib/backends/backend.ts, Operations: its command is what `prepare` reads
  const char* name;
  Status (*prepare)(CommandReader& in, cudaStream_t stream, Peer& peer);
};

// One row a routine.
constexpr PeerRow kPeers[] = {
    {"sddmm", "cusparse", prepare_sddmm},
    {"spmm", "cublas dense", prepare_dense},
    {"spmm", "cusparse default", prepare_spmm<CusparseSpmmAlgorithm::kDefault>},
    {"spmm", "cusparse CSR_ALG1", prepare_spmm<CusparseSpmmAlgorithm::kCsr1>},
    {"spmm", "cusparse CSR_ALG2", prepare_spmm<CusparseSpmmAlgorithm::kCsr2>},
    {"spmm", "cusparse CSR_ALG3", prepare_spmm<CusparseSpmmAlgorithm::kCsr3>},
    {"spmm", "cusparse BSR_ALG1", prepare_spmm<CusparseSpmmAlgorithm::kBsr1>},
};

struct Library {
  const char* name;
  Status (*find)(std::string* description);
};

constexpr Library kLibraries[] = {
    {"cuSPARSE", peers::cusparse_library},
    {"cuBLAS", peers::cublas_library},
    {"NVML", peers::nvml_library},
};

// peerLibraries() -> [{ name, file } or { name, problem }]
Napi::Value peer_libraries(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Napi::Array libraries = Napi::Array::New(env, std::size(kLibraries));
  for (uint32_t i = 0; i < std::size(kLibraries); ++i) {
    std::string file;
    const Status status = kLibraries[i].find(&file);
    Napi::Object library = Napi::Object::New(env);
    library.Set("name", kLibraries[i].name);
    if (status.is_ok()) {
      library.Set("file", file);
    } else {
      library.Set("problem", status.message());
    }
    libraries.Set(i, library);
  }
  return libraries;
}

// energy(device) -> millijoules that the card has used since its driver was loaded
Napi::Value energy(const Napi::CallbackInfo& info) {
  DeviceContext& device = device_argument(info);
  uint64_t millijoules = 0;
  device.check(peers::nvml_energy(device.ordinal(), &millijoules));
  return Napi::Number::New(info.Env(), static_cast<double>(millijoules));
}

// preparePeer(device, row of `peers`, words: Float64Array, length) -> peer
Napi::Value prepare_peer(const Napi::CallbackInfo& info) {
  DeviceContext& device = device_argument(info);
  device.not_capturing("preparing a peer");
  const int64_t row = integer_argument(info, 1);
  if (row >= static_cast<int64_t>(std::size(kPeers))) throw AddonError("ERR_ARGUMENT", "preparePeer: no such peer");
  const WordsArgument words = words_argument(info, 2, 3);
  auto peer = std::make_unique<Peer>(device);
  KeptBuffers buffers(device, *peer);
  CommandReader in(buffers, words.data, words.length);
  device.check(kPeers[row].prepare(in, device.stream(), *peer));
  return Napi::Number::New(info.Env(), device.add_peer(std::move(peer)));
}

// runPeer(device, peer): enqueues the routine once.
Napi::Value run_peer(const Napi::CallbackInfo& info) {
  DeviceContext& device = device_argument(info);
  device.check(device.peer(double_argument(info, 1)).plan->run());
  return info.Env().Undefined();
}

Napi::Value dispose_peer(const Napi::CallbackInfo& info) {
  const auto& devices = environment(info).devices;
  const auto found = devices.find(integer_argument(info, 0));
  if (found != devices.end()) found->second->remove_peer(double_argument(info, 1));
  return info.Env().Undefined();
}

}  // namespace

void add_peers(Napi::Env env, Napi::Object exports) {
  Napi::Array rows = Napi::Array::New(env, std::size(kPeers));
  for (uint32_t i = 0; i < std::size(kPeers); ++i) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("operation", kPeers[i].operation);
    row.Set("name", kPeers[i].name);
    rows.Set(i, row);
  }
  exports.Set("peers", rows);
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("peerLibraries", entry<peer_libraries>);
  add("preparePeer", entry<prepare_peer>);
  add("runPeer", entry<run_peer>);
  add("disposePeer", entry<dispose_peer>);
  add("energy", entry<energy>);
}

}  // namespace warptile::addon
