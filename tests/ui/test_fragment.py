"""Parts of a page that rerun alone: one within another is an ordinary part of it."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def test_a_part_within_another_is_no_fragment_of_its_own(fragments: dict[str, str | None]) -> None:
    def page() -> None:
        import streamlit as st

        from eavdash.ui.fragment import fragment

        @fragment()
        def inner(text: str) -> None:
            st.write(text)

        @fragment(run_every=60)
        def outer() -> None:
            inner("inside")

        outer()
        inner("outside")

    app = AppTest.from_function(page).run()
    assert not app.exception
    assert [text.value for text in app.markdown] == ["inside", "outside"]
    assert list(fragments.values()) == [None, None], "of the outer one, and of the inner one on the page itself"


def test_a_part_that_runs_by_itself_is_refused_within_another() -> None:
    def page() -> None:
        import streamlit as st

        from eavdash.ui.fragment import fragment

        @fragment(run_every=60)
        def inner() -> None: ...

        @fragment()
        def outer() -> None:
            try:
                inner()
            except RuntimeError as error:
                st.error(str(error))

        outer()

    app = AppTest.from_function(page).run()
    assert "draw it outside of other fragments" in app.error[0].value
