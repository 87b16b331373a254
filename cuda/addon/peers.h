// Entry points for the vendor libraries that the benchmark compares with.
#pragma once

#include <napi.h>

namespace warptile::addon {

// Adds `peers`, `peerLibraries`, `preparePeer`, `runPeer`, `disposePeer` and `energy`.
void add_peers(Napi::Env env, Napi::Object exports);

}  // namespace warptile::addon
