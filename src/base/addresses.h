// Which network an address belongs to: what an outgoing connection may reach without being asked about it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct sockaddr;

namespace tidemill {

// An IPv4 or IPv6 address in network order. IPv4 is kept as IPv4-mapped IPv6 (::ffff:a.b.c.d), so that both spellings
// of one address are one value.
class Address {
 public:
  Address() = default;
  // Reads the canonical text only: "10.0.0.1", "::1", "fe80::1". kInvalidArgument for legacy spellings such as "127.1",
  // "0x7f.1", "2130706433" and "0177.0.0.1", and for zones.
  [[nodiscard]] static Result<Address> parse(std::string_view text);
  // Reads what a resolver returned; kInvalidArgument for another family.
  [[nodiscard]] static Result<Address> of(const sockaddr& address);

  // Returns whether it is one that anybody in the Internet may own: neither loopback, private, link-local, shared,
  // multicast, reserved, documentation nor unspecified (IANA's special-purpose registries for IPv4 and IPv6, RFC 6890).
  // Addresses that carry an IPv4 address inside (mapped, NAT64, 6to4) are judged by that one.
  [[nodiscard]] bool is_public() const;

  [[nodiscard]] std::string str() const;
  [[nodiscard]] const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }

 private:
  std::array<std::uint8_t, 16> bytes_{};
};

// A range of addresses, such as 10.0.0.0/8 or fd00::/8.
class Network {
 public:
  // kInvalidArgument unless `text` is ADDRESS/BITS with no bit set past BITS.
  [[nodiscard]] static Result<Network> parse(std::string_view text);
  [[nodiscard]] bool contains(const Address& address) const;

 private:
  Address base_;
  int bits_ = 128;  // of the mapped form: 10.0.0.0/8 has 104
};

}  // namespace tidemill
