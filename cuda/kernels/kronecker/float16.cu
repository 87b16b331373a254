#include "kernels/kronecker/apply_factor.cuh"

namespace warptile::kronecker {

template Status apply_factor<__half>(const FactorCall&, const LaunchContext&);

}  // namespace warptile::kronecker
