"""The catalog in the browser: a Streamlit app over `flowlearner.client`."""
