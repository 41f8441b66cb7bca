#pragma once

namespace grafo::detail {

// g++ compiles each coroutine that is no template, with all that it calls, in every file that
// includes it. So the library's own are templates: `template <class = WhenUsed>`. Only templates
// may name them, or again each file would pay; what is no template gets to them by a pointer that
// the setting which needs them has left.
//
// The same makes a function one that separate compilation can leave out: see compiled_once.hpp.
//
// A virtual function that is defined below its class is declared `inline` in it (GRAFO_INLINE where
// that is in impl/), or each file would have the class's virtual table, and with it all that the
// virtual functions call.
struct WhenUsed;

}  // namespace grafo::detail
