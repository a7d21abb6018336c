"""The peer of the pages: a bare Streamlit app that shows a table of fifty rows."""

import pandas as pd
import streamlit as st

st.set_page_config(layout="wide")
st.title("Runs")
st.dataframe(pd.DataFrame({f"c{i}": range(50) for i in range(12)}))
