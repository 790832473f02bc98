#include "statistics/distributions.h"

#include <algorithm>
#include <boost/math/special_functions/erf.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

namespace tidemill::statistics {
namespace {

using std::numbers::pi;

// ln(n!) - ln(sqrt(2 pi n) (n/e)^n): what Stirling's formula misses (Loader 2000, "Fast and accurate computation of
// binomial probabilities"). Below 16 by lgamma, whose cancellation is harmless for so small values; above by the
// asymptotic series.
double stirling_error(double n) {
  if (n < 16) return boost::math::lgamma(n + 1) - (n + 0.5) * std::log(n) + n - 0.5 * std::log(2 * pi);
  const double square = n * n;
  return (1.0 / 12 - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - (1.0 / 1188) / square) / square) / square) / square) / n;
}

// x ln(x / m) + m - x without cancellation where x is near m (Loader 2000).
double deviance(double x, double m) {
  if (std::abs(x - m) >= 0.1 * (x + m)) return x * std::log(x / m) + m - x;
  const double v = (x - m) / (x + m);
  double sum = (x - m) * v;
  double term = 2 * x * v;
  for (int j = 1; j < 1000; ++j) {
    term *= v * v;
    const double next = sum + term / (2 * j + 1);
    if (next == sum) break;
    sum = next;
  }
  return sum;
}

// P(Binomial(n, a) = j) for 0 < a < 1, to nearly full precision for any n (Loader 2000).
double binomial_point(double j, double n, double a) {
  if (j == 0) return std::exp(n * std::log1p(-a));
  if (j == n) return std::exp(n * std::log(a));
  const double log_ratio =
      stirling_error(n) - stirling_error(j) - stirling_error(n - j) - deviance(j, n * a) - deviance(n - j, n * (1 - a));
  return std::exp(log_ratio) * std::sqrt(n / (2 * pi * j * (n - j)));
}

// P(D+_n >= d), exact: d * sum of C(n,j) a^(j-1) (1-a)^(n-j) with a = d + j/n (Birnbaum & Tingey 1951).
double one_sided_survival(std::int64_t n, double d) {
  const auto size = static_cast<double>(n);
  const auto last = static_cast<std::int64_t>(std::floor(size * (1 - d)));
  double sum = 0;
  for (std::int64_t j = 0; j <= last; ++j) {
    const double a = d + static_cast<double>(j) / size;
    if (a >= 1) {  // only the last term, when n (1 - d) is whole; then (1-a)^(n-j) is 0 but for j = n
      if (j == n) sum += 1;
      continue;
    }
    sum += binomial_point(static_cast<double>(j), size, a) / a;
  }
  return std::clamp(d * sum, 0.0, 1.0);
}

// Square matrices whose common factor 10^exponent is kept apart, so that powers neither overflow nor vanish.
struct Scaled {
  std::vector<double> cells;
  int exponent = 0;
};

Scaled multiply(const Scaled& a, const Scaled& b, std::size_t m) {
  Scaled product{std::vector<double>(m * m, 0.0), a.exponent + b.exponent};
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t k = 0; k < m; ++k) {
      const double factor = a.cells[i * m + k];
      if (factor == 0) continue;
      for (std::size_t j = 0; j < m; ++j) product.cells[i * m + j] += factor * b.cells[k * m + j];
    }
  }
  if (product.cells[(m / 2) * m + m / 2] > 1e140) {
    for (double& cell : product.cells) cell *= 1e-140;
    product.exponent += 140;
  }
  return product;
}

// The matrix H of Marsaglia, Tsang & Wang (2003), section 2: ones on and below the superdiagonal, the first column and
// last row lessened by powers of h, then divided by factorials.
Scaled durbin_matrix(std::size_t m, double h) {
  Scaled matrix{std::vector<double>(m * m, 0.0)};
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return matrix.cells[i * m + j]; };
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < std::min(i + 2, m); ++j) at(i, j) = 1;
  }
  for (std::size_t i = 0; i < m; ++i) {
    at(i, 0) -= std::pow(h, static_cast<double>(i + 1));
    at(m - 1, i) -= std::pow(h, static_cast<double>(m - i));
  }
  if (2 * h > 1) at(m - 1, 0) += std::pow(2 * h - 1, static_cast<double>(m));
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j <= i; ++j) {
      for (std::size_t g = 1; g <= i - j + 1; ++g) at(i, j) /= static_cast<double>(g);
    }
  }
  return matrix;
}

// P(D_n < d), exact (Marsaglia, Tsang & Wang 2003): n!/n^n times the middle of H^n.
double cdf_by_matrix(std::int64_t n, double d) {
  const double scaled = static_cast<double>(n) * d;
  const auto k = static_cast<std::size_t>(scaled) + 1;
  const std::size_t m = 2 * k - 1;
  Scaled base = durbin_matrix(m, static_cast<double>(k) - scaled);
  Scaled power{std::vector<double>(m * m, 0.0)};
  for (std::size_t i = 0; i < m; ++i) power.cells[i * m + i] = 1;
  for (std::int64_t left = n; left > 0; left >>= 1) {
    if ((left & 1) != 0) power = multiply(power, base, m);
    if (left > 1) base = multiply(base, base, m);
  }
  double value = power.cells[(k - 1) * m + k - 1];
  int exponent = power.exponent;
  for (std::int64_t i = 1; i <= n; ++i) {
    value *= static_cast<double>(i) / static_cast<double>(n);
    if (value < 1e-140) {
      value *= 1e140;
      exponent -= 140;
    }
  }
  return std::clamp(value * std::pow(10.0, exponent), 0.0, 1.0);
}

// P(D_n < d) for large n: four terms in powers of n^(-1/2) (Pelz & Good 1976, as given in Simard & L'Ecuyer 2011,
// section 3.3).
double cdf_by_expansion(std::int64_t n, double d) {
  const double root = std::sqrt(static_cast<double>(n));
  const double z = root * d;
  const double z2 = z * z;
  const double z4 = z2 * z2;
  const double z6 = z4 * z2;
  double s0 = 0, s1 = 0, s2_half = 0, s2_whole = 0, s3_half = 0, s3_whole = 0;
  for (int k = 0; k < 200; ++k) {
    const double half = pi * pi * (k + 0.5) * (k + 0.5);  // pi^2 (k + 1/2)^2
    const double whole = pi * pi * (k + 1.0) * (k + 1.0);
    const double e_half = std::exp(-half / (2 * z2));
    const double e_whole = std::exp(-whole / (2 * z2));
    s0 += e_half;
    s1 += (half - z2) * e_half;
    s2_half += (6 * z6 + 2 * z4 + half * (2 * z4 - 5 * z2) + half * half * (1 - 2 * z2)) * e_half;
    s2_whole += whole * e_whole;
    s3_half += (half * half * half * (5 - 30 * z2) + half * half * (-60 * z2 + 212 * z4) + half * (135 * z4 - 96 * z6) -
                30 * z6 - 90 * z6 * z2) *
               e_half;
    s3_whole += (-whole * whole + 3 * whole * z2) * e_whole;
    if (e_half < 1e-40) break;
  }
  // Sums over all whole k are twice those over k >= 0 (of k + 1/2) and over k >= 1 (of k).
  const double c = 2 * std::sqrt(pi / 2);
  const double k0 = std::sqrt(2 * pi) / z * s0;
  const double k1 = c * s1 / (6 * z4);
  const double k2 = c * s2_half / (72 * z6 * z) - c * s2_whole / (36 * z2 * z);
  const double k3 = c * s3_half / (6480 * z6 * z4) + c * s3_whole / (216 * z6);
  return std::clamp(k0 + k1 / root + k2 / (root * root) + k3 / (root * root * root), 0.0, 1.0);
}

// P(D_n < d) where n d <= 1 (Ruben & Gambino 1982): n! ((2 n d - 1) / n)^n.
double cdf_at_small_end(std::int64_t n, double scaled) {
  if (scaled <= 0.5) return 0;
  double product = 1;
  for (std::int64_t i = 1; i <= n && product > 0; ++i) {
    product *= static_cast<double>(i) * (2 * scaled - 1) / static_cast<double>(n);
  }
  return product;
}

}  // namespace

double normal_quantile(double probability) { return -std::numbers::sqrt2 * boost::math::erfc_inv(2 * probability); }

double normal_two_sided_p(double z) { return std::erfc(std::abs(z) / std::numbers::sqrt2); }

double chi2_survival(double statistic, double degrees) {
  if (!(statistic > 0)) return 1;
  return std::isinf(statistic) ? 0.0 : boost::math::gamma_q(degrees / 2, statistic / 2);
}

double kolmogorov_survival(std::int64_t n, double d) {
  if (n < 1 || !(d > 0)) return 1;
  if (d >= 1) return 0;
  const double scaled = static_cast<double>(n) * d;
  const double z2 = scaled * d;
  if (z2 >= 370) return 0;  // below 1e-300
  if (scaled <= 1) return 1 - cdf_at_small_end(n, scaled);
  if (scaled >= static_cast<double>(n) - 1) return 2 * std::pow(1 - d, static_cast<double>(n));
  if (d >= 0.5) return 2 * one_sided_survival(n, d);  // both sides cannot reach one half: exact
  if (n <= 140) return z2 <= 4 ? 1 - cdf_by_matrix(n, d) : std::min(1.0, 2 * one_sided_survival(n, d));
  if (z2 >= 2.2) return std::min(1.0, 2 * one_sided_survival(n, d));
  if (z2 < 0.03) return 1;  // what is left is below 1e-16
  if (n <= 100'000 && scaled * std::sqrt(d) <= 1.4) return 1 - cdf_by_matrix(n, d);
  return 1 - cdf_by_expansion(n, d);
}

}  // namespace tidemill::statistics
