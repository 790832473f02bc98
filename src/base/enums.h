// Names of enumerators, from BOOST_DESCRIBE_ENUM. Enumerators of described enums are written in lower snake case:
// they are the very words that JSON, SQL and the command line show.
#pragma once

#include <boost/describe.hpp>
#include <boost/mp11.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill {

template <class E>
[[nodiscard]] std::string_view enum_name(E value) {
  std::string_view name = "?";
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<E>>([&](auto d) {
    if (value == d.value) name = d.name;
  });
  return name;
}

template <class E>
[[nodiscard]] std::optional<E> parse_enum(std::string_view text) {
  std::optional<E> value;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<E>>([&](auto d) {
    if (text == d.name) value = d.value;
  });
  return value;
}

template <class E>
[[nodiscard]] std::vector<std::string> enum_names() {
  std::vector<std::string> names;
  boost::mp11::mp_for_each<boost::describe::describe_enumerators<E>>([&](auto d) { names.emplace_back(d.name); });
  return names;
}

}  // namespace tidemill
