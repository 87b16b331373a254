#include "kernels/kronecker/apply_factor.cuh"

namespace warptile::kronecker {

template Status apply_factor<float>(const FactorCall&, const LaunchContext&);

}  // namespace warptile::kronecker
