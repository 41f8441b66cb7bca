# grafo::compiled, the core without what a program needs once: that is a library, compiled with the
# flags of the project that links to it, and by nobody else.
if(NOT TARGET grafo::compiled AND CMAKE_CXX_COMPILER_LOADED)
    file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/grafo_compiled.cpp"
         CONTENT "#include <grafo/separate_compilation.hpp>\n")
    add_library(grafo_compiled STATIC EXCLUDE_FROM_ALL
                "${CMAKE_CURRENT_BINARY_DIR}/grafo_compiled.cpp")
    set_target_properties(grafo_compiled PROPERTIES POSITION_INDEPENDENT_CODE ON)  # for shared ones
    add_library(grafo::compiled ALIAS grafo_compiled)
    target_link_libraries(grafo_compiled PUBLIC grafo::grafo)
    target_compile_definitions(grafo_compiled PUBLIC GRAFO_SEPARATE_COMPILATION)
endif()
