#pragma once
#include <string>
#include <string_view>
#include <utility>

namespace grafo::detail {

// The name of a type as the compiler writes it, without <typeinfo>.
template <class T>
[[nodiscard]] constexpr std::string_view raw_type_name() noexcept {
#if defined(__clang__)
    std::string_view name = __PRETTY_FUNCTION__;
    name.remove_prefix(name.find("T = ") + 4);
    name.remove_suffix(1);
#elif defined(__GNUC__)
    std::string_view name = __PRETTY_FUNCTION__;
    name.remove_prefix(name.find("T = ") + 4);
    name = name.substr(0, name.find("; std::string_view = "));
    if (name.back() == ']') name.remove_suffix(1);
#else
    std::string_view name = __FUNCSIG__;
    name.remove_prefix(name.find("raw_type_name<") + 14);
    name.remove_suffix(name.size() - name.rfind(">("));
#endif
    return name;
}

// Identity of a type without RTTI: the address of one object a type.
struct TypeInfo {
    std::string_view raw_name;
};
template <class T>
inline constexpr TypeInfo type_info{raw_type_name<T>()};
using TypeId = const TypeInfo*;
template <class T>
[[nodiscard]] constexpr TypeId type_id() noexcept {
    return &type_info<T>;
}

// The name as a person would write it: std::string, not its basic_string.
[[nodiscard]] inline std::string type_name(TypeId type) {
    std::string name(type->raw_name);
    const auto replace_all = [&name](std::string_view from, std::string_view to) {
        std::string replaced;  // g++ 12 at -O3 warns of overlapping copies in std::string::replace
        std::size_t begin = 0;
        for (std::size_t at = 0; (at = name.find(from, begin)) != std::string::npos;) {
            replaced.append(name, begin, at - begin).append(to);
            begin = at + from.size();
        }
        name.erase(0, begin);
        replaced += name;
        name = std::move(replaced);
    };
    replace_all("std::__cxx11::", "std::");
    replace_all("std::__1::", "std::");
    replace_all("std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
                "std::string");
    replace_all("std::basic_string<char>", "std::string");
    replace_all("std::basic_string_view<char>", "std::string_view");
    // The default allocator of a container says nothing.
    for (std::size_t at = 0; (at = name.find(", std::allocator<", at)) != std::string::npos;) {
        std::size_t end = at + 17;
        for (int depth = 1; end < name.size() && depth > 0; ++end) {
            if (name[end] == '<') ++depth;
            if (name[end] == '>') --depth;
        }
        name.erase(at, end - at);
    }
    replace_all(" >", ">");
    return name;
}

}  // namespace grafo::detail
