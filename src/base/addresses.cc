#include "base/addresses.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace tidemill {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
constexpr std::size_t kTextMax = 64;

// IANA IPv4 special-purpose registry, "globally reachable: false", with multicast and what is reserved.
constexpr std::array<std::string_view, 16> kNotPublic4{
    "0.0.0.0/8",      "10.0.0.0/8",   "100.64.0.0/10",  "127.0.0.0/8",       "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24",   "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",    "198.18.0.0/15",  "198.51.100.0/24",
    "203.0.113.0/24", "224.0.0.0/4",  "240.0.0.0/4",    "255.255.255.255/32"};

// Within 2000::/3, the only block that global unicast addresses are given out of: protocol assignments (Teredo, ORCHID,
// benchmarking), documentation.
constexpr std::array<std::string_view, 4> kNotPublic6{"2001::/23", "2001:db8::/32", "3fff::/20", "2620:4f:8000::/48"};

template <std::size_t N>
std::vector<Network> networks(const std::array<std::string_view, N>& texts) {
  std::vector<Network> out;
  for (const std::string_view text : texts) out.push_back(Network::parse(text).value());
  return out;
}

bool in_any(const std::vector<Network>& networks, const Address& address) {
  return std::ranges::any_of(networks, [&](const Network& network) { return network.contains(address); });
}

bool in(std::string_view network, const Address& address) { return Network::parse(network).value().contains(address); }

std::unexpected<Error> not_an_address(std::string_view text) {
  return fail(Code::kInvalidArgument, "addresses.malformed",
              fmt::format("'{}' is not an IP address in its canonical form.", text.substr(0, kTextMax)),
              "Write 192.0.2.1 or 2001:db8::1.");
}

// The four bytes from `begin` on as an address of their own.
Address embedded(const Address& address, std::size_t begin) {
  sockaddr_in four{};
  four.sin_family = AF_INET;
  std::memcpy(&four.sin_addr, address.bytes().data() + begin, 4);
  return Address::of(reinterpret_cast<const sockaddr&>(four)).value();
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  if (text.size() > kTextMax || text.find('\0') != std::string_view::npos) return not_an_address(text);
  const std::string terminated(text);
  Address out;
  in_addr four{};
  if (inet_pton(AF_INET, terminated.c_str(), &four) == 1) {
    std::ranges::copy(kMappedPrefix, out.bytes_.begin());
    std::memcpy(out.bytes_.data() + kMappedPrefix.size(), &four, sizeof four);
    return out;
  }
  if (inet_pton(AF_INET6, terminated.c_str(), out.bytes_.data()) == 1) return out;
  return not_an_address(text);
}

Result<Address> Address::of(const sockaddr& address) {
  Address out;
  if (address.sa_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    std::ranges::copy(kMappedPrefix, out.bytes_.begin());
    std::memcpy(out.bytes_.data() + kMappedPrefix.size(), &four.sin_addr, sizeof four.sin_addr);
    return out;
  }
  if (address.sa_family == AF_INET6) {
    std::memcpy(out.bytes_.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, out.bytes_.size());
    return out;
  }
  return fail(Code::kInvalidArgument, "addresses.family",
              fmt::format("Addresses of family {} are not connected to.", address.sa_family), "Use IPv4 or IPv6.");
}

bool Address::is_public() const {
  static const std::vector<Network> kFour = networks(kNotPublic4);
  static const std::vector<Network> kSix = networks(kNotPublic6);
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin())) return !in_any(kFour, *this);
  if (in("64:ff9b::/96", *this)) return embedded(*this, 12).is_public();
  if (in("2002::/16", *this)) return embedded(*this, 2).is_public();
  return in("2000::/3", *this) && !in_any(kSix, *this);
}

std::string Address::str() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const bool four = std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), bytes_.begin());
  inet_ntop(four ? AF_INET : AF_INET6, bytes_.data() + (four ? kMappedPrefix.size() : 0), text.data(), text.size());
  return text.data();
}

Result<Network> Network::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  Network out;
  int bits = -1;
  if (slash != std::string_view::npos) {
    const auto base = Address::parse(text.substr(0, slash));
    const std::string_view number = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), bits);
    const bool four = text.substr(0, slash).find(':') == std::string_view::npos;
    if (base && error == std::errc{} && end == number.data() + number.size() && bits >= 0 &&
        bits <= (four ? 32 : 128)) {
      out.base_ = *base;
      out.bits_ = four ? bits + 96 : bits;
      bool clean = true;
      for (int bit = out.bits_; bit < 128; ++bit) {
        clean = clean && (out.base_.bytes()[static_cast<std::size_t>(bit / 8)] >> (7 - bit % 8) & 1) == 0;
      }
      if (clean) return out;
    }
  }
  return fail(Code::kInvalidArgument, "addresses.bad_network",
              fmt::format("'{}' is not a network.", text.substr(0, kTextMax)), "Write 10.0.0.0/8 or fd00::/8.");
}

bool Network::contains(const Address& address) const {
  const auto whole = static_cast<std::size_t>(bits_ / 8);
  const auto& mine = base_.bytes();
  const auto& other = address.bytes();
  if (!std::equal(mine.begin(), mine.begin() + static_cast<std::ptrdiff_t>(whole), other.begin())) return false;
  const int rest = bits_ % 8;
  return rest == 0 || (mine[whole] ^ other[whole]) >> (8 - rest) == 0;
}

}  // namespace tidemill
