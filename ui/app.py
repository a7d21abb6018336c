"""Starts the app: which pages there are. Each is a script in `views`, with its state in the URL."""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

# In this process `ui` is this one, whatever else is called so.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ui.components.page import set_up

set_up()
st.navigation(
    {
        "Experiments": [
            st.Page("views/runs.py", title="Runs", icon=":material/list:", default=True),
            st.Page("views/sweeps.py", title="Sweeps", icon=":material/scatter_plot:"),
            st.Page("views/compare.py", title="Compare", icon=":material/compare_arrows:"),
        ],
        "Work": [
            st.Page("views/launch.py", title="Launch", icon=":material/rocket_launch:"),
            st.Page("views/schedules.py", title="Schedules", icon=":material/schedule:"),
        ],
        "Code": [
            st.Page("views/workflows.py", title="Workflows", icon=":material/account_tree:"),
            st.Page("views/operators.py", title="Operators", icon=":material/function:"),
        ],
        "": [
            st.Page("views/run.py", title="Run", visibility="hidden"),
            st.Page("views/sweep.py", title="Sweep", visibility="hidden"),
            st.Page("views/launched.py", title="Launched", visibility="hidden"),
        ],
    }
).run()
