#pragma once

// What the definitions in impl/ begin with. Files with GRAFO_SEPARATE_COMPILATION do without them;
// the one file with separate_compilation.hpp has them as functions that are not inline, so that
// they are compiled there whether it uses them or not.
//
// A virtual function among them is declared with it as well, see when_used.hpp.
#ifndef GRAFO_SEPARATE_COMPILATION
#define GRAFO_INLINE inline
#else
#define GRAFO_INLINE
#endif
